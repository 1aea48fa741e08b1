//! Pulls of the last hours, by node and source.
//!
//! A node that has pulled a source, or one of its variants, has the layers. Its next pull of either takes a moment:
//! with `imagePullPolicy: Always` the kubelet only asks for the digest, and containerd finds the layers of a variant
//! by their `diff_ids`, which are the source's. Such a pull would make variants look quick.
//!
//! A pull is a hash of 8 bytes. Two generations bound the memory to about 3 MiB, and let a node count again whose
//! image was removed a day ago.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use zstart_core::Reference;

/// Largest number of pulls in one generation.
const MAX_PULLS: usize = 1 << 16;
/// Longest time in which one generation collects pulls.
const MAX_AGE: Duration = Duration::from_hours(12);

/// Memory of pulls: at least the last 65,536 of the last 12 hours, at most twice as many of 24 hours.
#[derive(Debug)]
pub(super) struct RecentPulls {
    hasher: RandomState,
    current: HashSet<u64>,
    previous: HashSet<u64>,
    /// Begin of the current generation.
    since: Option<Instant>,
}

impl Default for RecentPulls {
    fn default() -> Self {
        let hasher = RandomState::new();
        Self { hasher, current: HashSet::new(), previous: HashSet::new(), since: None }
    }
}

impl RecentPulls {
    /// Remembers a pull. Returns whether the node hasn't pulled this generation of the source lately.
    pub(super) fn insert(&mut self, node: &str, source: &Reference, generation: u32, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        if self.current.len() >= MAX_PULLS || now.saturating_duration_since(since) >= MAX_AGE {
            self.previous = std::mem::take(&mut self.current);
            self.since = Some(now);
        }
        let pull = self.hasher.hash_one((node, source, generation));
        let is_known = self.previous.contains(&pull);
        self.current.insert(pull) && !is_known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Reference {
        "r.example/app:v1".parse().unwrap()
    }

    #[test]
    fn node_counts_once_in_a_day() {
        let (mut pulls, source, start) = (RecentPulls::default(), source(), Instant::now());
        assert!(pulls.insert("a", &source, 0, start));
        assert!(!pulls.insert("a", &source, 0, start));
        assert!(pulls.insert("b", &source, 0, start) && pulls.insert("a", &source, 1, start));
        assert!(pulls.insert("a", &"r.example/app:v2".parse().unwrap(), 0, start));
        assert!(!pulls.insert("b", &source, 0, start + MAX_AGE), "the previous generation");
        assert!(pulls.insert("a", &source, 1, start + 2 * MAX_AGE), "forgotten");
        assert!(!pulls.insert("b", &source, 0, start + 2 * MAX_AGE), "seen again meanwhile");
    }

    #[test]
    fn memory_is_bounded() {
        let (mut pulls, source, now) = (RecentPulls::default(), source(), Instant::now());
        for generation in 0..200_000 {
            assert!(pulls.insert("a", &source, generation, now));
        }
        assert!(pulls.current.len() <= MAX_PULLS && pulls.previous.len() <= MAX_PULLS);
        assert!(!pulls.insert("a", &source, 199_999, now));
    }
}

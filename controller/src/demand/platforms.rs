//! Platforms of the nodes, of today and of the last days.
//!
//! A platform is kept after its last node left: an autoscaler removes the nodes of an architecture at night and
//! adds them in the morning, and their pods must find a variant that covers them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use zstart_core::Platform;

use super::objects::Objects;

/// Platforms, with their nodes.
#[derive(Debug, Default)]
pub(super) struct Platforms {
    nodes: Objects<String, Arc<Platform>>,
    /// Platforms of the nodes, with the number of nodes.
    present: BTreeMap<Arc<Platform>, usize>,
    /// Platforms without nodes, with the time at which the last node was seen.
    absent: BTreeMap<Platform, Timestamp>,
    is_restored: bool,
}

impl Platforms {
    /// Begins a list of all nodes.
    pub(super) fn begin_list(&mut self) {
        self.nodes.begin_list();
    }

    /// Ends a list. The nodes that it lacks are removed.
    pub(super) fn end_list(&mut self, now: Timestamp) {
        for node in self.nodes.end_list() {
            self.set(node, None, now);
        }
    }

    /// Sets the platform of a node; `None` if the node is gone. Returns whether a platform is new.
    pub(super) fn set(&mut self, node: String, platform: Option<Platform>, now: Timestamp) -> bool {
        if self.nodes.touch(&node).map(|known| &**known) == platform.as_ref() {
            return false;
        }
        let mut is_new = false;
        let platform = platform.map(|platform| {
            let known = self.present.get_key_value(&platform).map(|(known, _)| Arc::clone(known));
            known.unwrap_or_else(|| Arc::new(platform))
        });
        if let Some(platform) = &platform {
            let nodes = self.present.entry(Arc::clone(platform)).or_default();
            *nodes += 1;
            is_new = *nodes == 1 && self.absent.remove(&**platform).is_none();
        }
        if let Some(old) = self.nodes.set(node, platform)
            && let Some(nodes) = self.present.get_mut(&old)
        {
            *nodes -= 1;
            if *nodes == 0 {
                self.present.remove(&old);
                self.absent.insert(Platform::clone(&old), now);
            }
        }
        is_new
    }

    /// Adds the platforms that an earlier process saw. Returns whether a platform is new.
    pub(super) fn restore(&mut self, seen: BTreeMap<Platform, Timestamp>) -> bool {
        let before = self.absent.len();
        for (platform, time) in seen {
            if !self.present.contains_key(&platform) {
                self.absent.entry(platform).or_insert(time);
            }
        }
        self.is_restored = true;
        self.absent.len() > before
    }

    /// Drops the platforms whose last node was seen more than `retention` before `now`. Returns whether there
    /// were any.
    pub(super) fn expire(&mut self, now: Timestamp, retention: Duration) -> bool {
        let before = self.absent.len();
        self.absent.retain(|_, seen| now.duration_since(*seen).unsigned_abs() <= retention || *seen > now);
        self.absent.len() < before
    }

    /// The platforms, with the time at which a node was last seen.
    pub(super) fn seen(&self, now: Timestamp) -> BTreeMap<Platform, Timestamp> {
        let present = self.present.keys().map(|platform| (Platform::clone(platform), now));
        present.chain(self.absent.iter().map(|(platform, seen)| (platform.clone(), *seen))).collect()
    }

    /// The platforms.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Platform> {
        self.present.keys().map(|platform| &**platform).chain(self.absent.keys())
    }

    /// Returns whether the nodes were listed at least once, and the platforms of the earlier process are known.
    pub(super) fn is_synced(&self) -> bool {
        self.nodes.is_synced() && self.is_restored
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn platform(architecture: &str) -> Platform {
        Platform::new("linux", architecture)
    }

    fn time(days: u32) -> Timestamp {
        "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + DAY * days
    }

    fn architectures(platforms: &Platforms) -> BTreeSet<&str> {
        platforms.iter().map(|platform| &*platform.architecture).collect()
    }

    /// Platforms of one amd64 node and two arm64 nodes.
    fn platforms() -> Platforms {
        let mut platforms = Platforms::default();
        for (node, architecture, is_new) in
            [("a", "amd64", true), ("b", "arm64", true), ("c", "arm64", false)]
        {
            assert_eq!(
                platforms.set(node.to_owned(), Some(platform(architecture)), time(0)),
                is_new,
                "{node}"
            );
        }
        platforms
    }

    #[test]
    fn platform_is_kept_after_its_last_node() {
        let mut platforms = platforms();
        for (node, day) in [("b", 1), ("c", 2)] {
            assert!(!platforms.set(node.to_owned(), None, time(day)), "{node}");
        }
        assert!(!platforms.expire(time(9), 7 * DAY), "seen 7 days ago");
        assert_eq!(architectures(&platforms), BTreeSet::from(["amd64", "arm64"]));
        // The nodes are back in the morning.
        assert!(!platforms.set("d".to_owned(), Some(platform("arm64")), time(3)));
        assert!(!platforms.expire(time(100), 7 * DAY));
        platforms.set("d".to_owned(), None, time(101));
        assert!(platforms.expire(time(109), 7 * DAY));
        assert_eq!(architectures(&platforms), BTreeSet::from(["amd64"]));
        assert!(platforms.set("e".to_owned(), Some(platform("arm64")), time(110)), "new again");
    }

    #[test]
    fn node_absent_from_a_list_was_seen_until_then() {
        let mut platforms = platforms();
        platforms.begin_list();
        platforms.set("a".to_owned(), Some(platform("amd64")), time(1));
        platforms.end_list(time(1));
        assert_eq!(
            platforms.seen(time(2)),
            [(platform("amd64"), time(2)), (platform("arm64"), time(1))].into()
        );
    }

    #[test]
    fn node_that_changes_its_platform_counts_once() {
        let mut platforms = platforms();
        assert!(platforms.set("a".to_owned(), Some(platform("riscv64")), time(1)));
        assert_eq!(platforms.seen(time(1))[&platform("amd64")], time(1));
        platforms.set("a".to_owned(), None, time(2));
        assert_eq!(platforms.present.len(), 1);
    }

    #[test]
    fn platforms_of_an_earlier_process_are_restored() {
        let mut platforms = platforms();
        let mut restarted = Platforms::default();
        restarted.begin_list();
        restarted.end_list(time(5));
        assert!(!restarted.is_synced());
        assert!(restarted.restore([(platform("amd64"), time(1)), (platform("arm64"), time(4))].into()));
        assert!(restarted.is_synced());
        assert!(restarted.expire(time(9), 7 * DAY));
        assert_eq!(architectures(&restarted), BTreeSet::from(["arm64"]));
        // A node that is present is more recent than any memory.
        assert!(!platforms.restore([(platform("amd64"), time(0))].into()));
        assert_eq!(platforms.seen(time(6))[&platform("amd64")], time(6));
    }
}

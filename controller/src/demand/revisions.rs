//! Versions of pod templates: a new one is a reason to look at its images.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher as _};

/// Version of a pod template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Revision(u64);

impl Revision {
    /// Version with this content.
    pub(crate) fn of(content: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// The versions that pods have shown.
///
/// A template's object has one version at a time. Pods show the version of a template in an object that
/// isn't watched (a `ReplicaSet`), or that was made after the watched one (a `ControllerRevision`); many pods
/// show the same.
#[derive(Debug, Default)]
pub(super) struct PodRevisions {
    known: HashSet<Revision>,
}

/// Number of versions of pods below which none is forgotten.
const MIN_KNOWN: usize = 1024;

impl PodRevisions {
    /// Records the version of a pod. Returns whether the version is new: a restarted pod has a known one.
    pub(super) fn insert(&mut self, revision: Revision) -> bool {
        self.known.insert(revision)
    }

    /// Forgets the versions of pods that are gone, once there are more of them than of `pods`, which number
    /// `count`.
    pub(super) fn prune(&mut self, pods: impl Iterator<Item = Option<Revision>>, count: usize) {
        if self.known.len() > MIN_KNOWN.max(2 * count) {
            self.known = pods.flatten().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_new_once() {
        let mut revisions = PodRevisions::default();
        let (a, b) = (Revision::of("a"), Revision::of("b"));
        assert_eq!([a, a, b, a].map(|revision| revisions.insert(revision)), [true, false, true, false]);
    }

    #[test]
    fn versions_of_gone_pods_are_forgotten() {
        let mut revisions = PodRevisions::default();
        for number in 0..=MIN_KNOWN {
            assert!(revisions.insert(Revision::of(number)));
        }
        let last = Revision::of(MIN_KNOWN);
        revisions.prune([Some(last), None].into_iter(), 2);
        assert_eq!(revisions.known, HashSet::from([last]));
    }
}

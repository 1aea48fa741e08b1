//! Versions of pod templates: a new one is a reason to look at its images.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher as _};

use super::{Key, Kind};

/// Version of a pod template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Revision(u64);

impl Revision {
    /// Version with this content.
    pub(super) fn of(content: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// The versions that the watches have reported.
///
/// A template's object has one version at a time. Pods show the version of a template in an object that
/// isn't watched (a `ReplicaSet`), or that was made after the watched one (a `ControllerRevision`); many pods
/// show the same.
#[derive(Debug, Default)]
pub(super) struct Revisions {
    templates: HashMap<Key, Revision>,
    of_pods: HashSet<Revision>,
}

/// Number of versions of pods below which none is forgotten.
const MIN_OF_PODS: usize = 1024;

impl Revisions {
    /// Records the current version of an object, `None` if it is gone. Returns whether the version is new.
    pub(super) fn update(&mut self, key: &Key, revision: Option<Revision>) -> bool {
        match (key.kind, revision) {
            (Kind::Pod, Some(revision)) => self.of_pods.insert(revision),
            (Kind::Pod, None) => false,
            (_, Some(revision)) => self.templates.insert(key.clone(), revision) != Some(revision),
            (_, None) => {
                self.templates.remove(key);
                false
            }
        }
    }

    /// Forgets the versions of pods that are gone, once there are more of them than of `pods`, which number
    /// `count`.
    pub(super) fn prune(&mut self, pods: impl Iterator<Item = Option<Revision>>, count: usize) {
        if self.of_pods.len() > MIN_OF_PODS.max(2 * count) {
            self.of_pods = pods.flatten().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: Kind, name: &str) -> Key {
        Key { kind, namespace: "shop".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn template_is_new_after_each_change() {
        let mut revisions = Revisions::default();
        let (key, a, b) = (key(Kind::Deployment, "app"), Revision::of("a"), Revision::of("b"));
        for (revision, is_new) in [
            (Some(a), true),
            (Some(a), false),
            (Some(b), true),
            (Some(a), true),
            (None, false),
            (Some(a), true),
        ] {
            assert_eq!(revisions.update(&key, revision), is_new, "{revision:?}");
        }
    }

    #[test]
    fn pods_of_one_template_are_one_version() {
        let mut revisions = Revisions::default();
        let revision = Some(Revision::of("a"));
        assert!(revisions.update(&key(Kind::Pod, "one"), revision));
        assert!(!revisions.update(&key(Kind::Pod, "two"), revision));
        assert!(!revisions.update(&key(Kind::Pod, "one"), None));
        assert!(!revisions.update(&key(Kind::Pod, "one"), revision), "a restarted pod is no new version");
    }

    #[test]
    fn versions_of_gone_pods_are_forgotten() {
        let mut revisions = Revisions::default();
        for number in 0..=MIN_OF_PODS {
            assert!(revisions.update(&key(Kind::Pod, "app"), Some(Revision::of(number))));
        }
        let last = Revision::of(MIN_OF_PODS);
        revisions.prune([Some(last), None].into_iter(), 2);
        assert_eq!(revisions.of_pods, HashSet::from([last]));
    }
}

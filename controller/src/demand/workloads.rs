//! The watched workloads, reduced to shared requirements, and their reverse index.
//!
//! The pods of a `ReplicaSet` have equal requirements, so 50,000 pods have few allocations: each pod is a hash
//! of its name and a pointer.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::core::v1::ObjectReference;

use super::changes::Changes;
use super::index::Index;
use super::interner::Interner;
use super::objects::Objects;
use super::requirements::{Access, EventTarget, Requirements, Source};
use super::revisions::{PodRevisions, Revision};
use super::{Key, Kind};

/// Workloads of all namespaces that run a source.
#[derive(Debug, Default)]
pub(super) struct Workloads {
    kinds: BTreeMap<Kind, Objects<ObjectKey, Object>>,
    hasher: KeyHasher,
    accesses: Interner<Access>,
    templates: Interner<Template>,
    pod_revisions: PodRevisions,
    /// Reverse index.
    pub(super) index: Index,
}

/// Hash of an object's namespace and name. The names of 50,000 pods take ten times as much memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ObjectKey([u64; 2]);

/// Two hash functions with random keys. A tenant who chooses the names of objects can't make two collide.
#[derive(Clone, Debug, Default)]
struct KeyHasher([RandomState; 2]);

/// A workload.
#[derive(Clone, Debug)]
struct Object {
    template: Arc<Template>,
    revision: Option<Revision>,
    target: Option<Arc<EventTarget>>,
}

/// Requirements that workloads share.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Template {
    access: Arc<Access>,
    /// Sorted. The value tells whether the kubelet pulls the source at each start.
    sources: Box<[(Source, bool)]>,
}

impl KeyHasher {
    fn hash(&self, key: &Key) -> ObjectKey {
        ObjectKey(self.0.each_ref().map(|hasher| hasher.hash_one((&key.namespace, &key.name))))
    }
}

impl Object {
    /// Returns whether the workload has these requirements.
    fn has(&self, requirements: &Requirements) -> bool {
        let sources = self.template.sources.iter().map(|(source, always)| (&**source, always));
        *self.template.access == requirements.access
            && sources.eq(&requirements.sources)
            && self.revision == requirements.revision
            && self.target.as_deref() == requirements.event_target.as_ref()
    }
}

impl Workloads {
    /// Begins a list of all workloads of a kind.
    pub(super) fn begin_list(&mut self, kind: Kind) {
        self.kinds.entry(kind).or_default().begin_list();
    }

    /// Ends a list. The workloads that it lacks are removed.
    pub(super) fn end_list(&mut self, kind: Kind) -> Changes {
        let mut changes = Changes::default();
        for key in self.kinds.entry(kind).or_default().end_list() {
            self.replace(kind, key, None, &mut changes);
        }
        self.prune_revisions(kind);
        changes
    }

    /// Sets the requirements of a workload. A new version of its pod template requests a look at `look_time`, if that
    /// is present.
    pub(super) fn set(
        &mut self,
        key: &Key,
        requirements: Requirements,
        look_time: Option<Instant>,
    ) -> Changes {
        let mut changes = Changes::default();
        if requirements.sources.is_empty() {
            self.replace(key.kind, self.hasher.hash(key), None, &mut changes);
            return changes;
        }
        let hash = self.hasher.hash(key);
        let objects = self.kinds.entry(key.kind).or_default();
        let old = objects.touch(&hash);
        if old.is_some_and(|old| old.has(&requirements)) {
            return changes;
        }
        let revision = requirements.revision;
        let is_new = match (key.kind, revision) {
            (_, None) => false,
            (Kind::Pod, Some(revision)) => self.pod_revisions.insert(revision),
            (_, revision) => old.is_none_or(|old| old.revision != revision),
        };
        let sources: Vec<Source> = self.replace(key.kind, hash, Some(requirements), &mut changes);
        if let Some(look_time) = look_time.filter(|_| is_new) {
            let is_opted_in = self.index.is_opted_in(&key.namespace);
            for source in sources {
                self.index.request_look(&source, look_time);
                if is_opted_in {
                    changes.sources.insert(source);
                }
            }
        }
        self.prune_revisions(key.kind);
        changes
    }

    /// Removes a workload.
    pub(super) fn remove(&mut self, key: &Key) -> Changes {
        let mut changes = Changes::default();
        self.replace(key.kind, self.hasher.hash(key), None, &mut changes);
        changes
    }

    /// Returns whether each of `kinds` was listed at least once.
    pub(super) fn are_synced(&self, kinds: &[Kind]) -> bool {
        kinds.iter().all(|kind| self.kinds.get(kind).is_some_and(Objects::is_synced))
    }

    /// Object that events about a workload are published on, if the workload runs a source.
    pub(super) fn event_target(&self, key: &Key) -> Option<ObjectReference> {
        let object = self.kinds.get(&key.kind)?.get(&self.hasher.hash(key))?;
        Some(object.target.as_ref()?.in_namespace(&key.namespace))
    }

    /// Replaces a workload, and returns its new sources. The new requirements are indexed before the old ones
    /// are removed, so an unchanged source never loses its last consumer.
    fn replace(
        &mut self,
        kind: Kind,
        key: ObjectKey,
        new: Option<Requirements>,
        changes: &mut Changes,
    ) -> Vec<Source> {
        let new = new.map(|requirements| self.intern(requirements));
        let objects = self.kinds.entry(kind).or_default();
        // First the old event target: the new one may be equal.
        if let Some(Object { template, target: Some(target), .. }) = objects.get(&key) {
            for (source, always) in &template.sources {
                self.index.remove_target(source, *always, &template.access, target);
            }
        }
        let mut sources = Vec::new();
        if let Some(Object { template, target, .. }) = &new {
            for (source, always) in &template.sources {
                if self.index.add(source, *always, &template.access, target.as_ref()) {
                    changes.sources.insert(Arc::clone(source));
                }
                sources.push(Arc::clone(source));
            }
        }
        if let Some(Object { template, .. }) = objects.set(key, new) {
            for (source, always) in &template.sources {
                if self.index.remove(source, *always, &template.access) {
                    changes.sources.insert(Arc::clone(source));
                }
            }
            if self.templates.release(&template) {
                self.accesses.release(&template.access);
            }
        }
        sources
    }

    /// Each distinct template uses its credentials once.
    fn intern(&mut self, requirements: Requirements) -> Object {
        let Requirements { sources, access, revision, event_target } = requirements;
        let (access, _) = self.accesses.acquire(access);
        let sources = sources.into_iter().map(|(source, always)| (self.index.intern(source), always));
        let template = Template { access, sources: sources.collect() };
        let (template, is_new) = self.templates.acquire(template);
        if !is_new {
            self.accesses.release(&template.access);
        }
        Object { template, revision, target: event_target.map(Arc::new) }
    }

    /// Forgets the versions of pods that are gone, after many of them.
    fn prune_revisions(&mut self, kind: Kind) {
        if let Some(pods) = self.kinds.get(&kind).filter(|_| kind == Kind::Pod) {
            self.pod_revisions.prune(pods.values().map(|pod| pod.revision), pods.len());
        }
    }

    /// Number of entries of all tables, for tests of released memory.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let objects: usize = self.kinds.values().map(Objects::len).sum();
        objects + self.accesses.len() + self.templates.len() + self.index.len()
    }
}

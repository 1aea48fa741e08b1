//! Reverse index: the consumers of each source, and the sources of each namespace.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use zstart_core::Reference;

use super::requirements::{Access, Consumer, EventTarget, Source};

/// Maximum number of consumers with an event target. An event on each of 50,000 pods would help no user.
const MAX_EVENT_TARGETS: usize = 10;

/// Consumers by source, for the workloads of all namespaces.
#[derive(Debug, Default)]
pub(super) struct Index {
    sources: HashMap<Source, Entry>,
    namespaces: HashMap<String, Namespace>,
}

/// Knowledge about one source.
#[derive(Debug, Default)]
struct Entry {
    /// Sorted by [`Consumers::order`].
    consumers: Vec<Consumers>,
    /// Number of `consumers` in opted-in namespaces.
    enabled: usize,
    /// Time of the last requested look.
    requested: Option<Instant>,
}

/// Workloads with equal credentials that run one source.
#[derive(Debug)]
struct Consumers {
    access: Arc<Access>,
    pulls_always: bool,
    /// Number of the workloads.
    workloads: usize,
    /// Event targets among them.
    targets: BTreeSet<Arc<EventTarget>>,
}

/// Sources that the workloads of a namespace run.
#[derive(Debug, Default)]
struct Namespace {
    is_opted_in: bool,
    /// The value is the number of the source's [`Consumers`] in the namespace.
    sources: HashMap<Source, usize>,
}

impl Consumers {
    /// Consumers that pull at each start are first.
    fn order(&self) -> (&Access, bool) {
        (&self.access, !self.pulls_always)
    }
}

impl Entry {
    /// Position of the consumers, or the position at which to insert them.
    fn find(&self, access: &Access, pulls_always: bool) -> Result<usize, usize> {
        self.consumers.binary_search_by(|consumers| consumers.order().cmp(&(access, !pulls_always)))
    }
}

impl Index {
    /// The shared allocation of a source.
    pub(super) fn intern(&self, source: Reference) -> Source {
        let known = self.sources.get_key_value(&source).map(|(known, _)| Arc::clone(known));
        known.unwrap_or_else(|| Arc::new(source))
    }

    /// Adds a workload that runs `source`. Returns whether the source's consumers changed.
    pub(super) fn add(
        &mut self,
        source: &Source,
        pulls_always: bool,
        access: &Arc<Access>,
        target: Option<&Arc<EventTarget>>,
    ) -> bool {
        let entry = self.sources.entry(Arc::clone(source)).or_default();
        let (position, is_new) = match entry.find(access, pulls_always) {
            Ok(position) => (position, false),
            Err(position) => {
                // Most sources have consumers in one namespace. A Vec grows to four elements at once.
                entry.consumers.reserve_exact(usize::from(entry.consumers.is_empty()));
                let (access, targets) = (Arc::clone(access), BTreeSet::new());
                entry.consumers.insert(position, Consumers { access, pulls_always, workloads: 0, targets });
                (position, true)
            }
        };
        let consumers = &mut entry.consumers[position];
        consumers.workloads += 1;
        consumers.targets.extend(target.cloned());
        if !is_new {
            return false;
        }
        let namespace = match self.namespaces.get_mut(&access.namespace) {
            Some(namespace) => namespace,
            None => self.namespaces.entry(access.namespace.clone()).or_default(),
        };
        *namespace.sources.entry(Arc::clone(source)).or_default() += 1;
        entry.enabled += usize::from(namespace.is_opted_in);
        namespace.is_opted_in
    }

    /// Removes the event target of a workload that runs `source`. The workload stays.
    pub(super) fn remove_target(
        &mut self,
        source: &Source,
        pulls_always: bool,
        access: &Access,
        target: &Arc<EventTarget>,
    ) {
        let Some(entry) = self.sources.get_mut(source) else { return };
        if let Ok(position) = entry.find(access, pulls_always) {
            entry.consumers[position].targets.remove(target);
        }
    }

    /// Removes a workload that ran `source`. Returns whether the source's consumers changed.
    pub(super) fn remove(&mut self, source: &Source, pulls_always: bool, access: &Access) -> bool {
        let Some(entry) = self.sources.get_mut(source) else { return false };
        let Ok(position) = entry.find(access, pulls_always) else { return false };
        let consumers = &mut entry.consumers[position];
        consumers.workloads -= 1;
        if consumers.workloads > 0 {
            return false;
        }
        entry.consumers.remove(position);
        let Some(namespace) = self.namespaces.get_mut(&access.namespace) else { return false };
        let is_opted_in = namespace.is_opted_in;
        entry.enabled -= usize::from(is_opted_in);
        if let Some(count) = namespace.sources.get_mut(source) {
            *count -= 1;
            if *count == 0 {
                namespace.sources.remove(source);
            }
        }
        if namespace.sources.is_empty() && !is_opted_in {
            self.namespaces.remove(&access.namespace);
        }
        if entry.consumers.is_empty() {
            self.sources.remove(source);
        }
        is_opted_in
    }

    /// Opts a namespace in or out. Returns the sources inside if that is a change.
    pub(super) fn opt(&mut self, name: &str, is_opted_in: bool) -> Vec<Source> {
        if !self.namespaces.contains_key(name) && !is_opted_in {
            return Vec::new();
        }
        let namespace = self.namespaces.entry(name.to_owned()).or_default();
        if namespace.is_opted_in == is_opted_in {
            return Vec::new();
        }
        namespace.is_opted_in = is_opted_in;
        for (source, count) in &namespace.sources {
            let Some(entry) = self.sources.get_mut(source) else { continue };
            entry.enabled = if is_opted_in { entry.enabled + count } else { entry.enabled - count };
        }
        let inside = namespace.sources.keys().cloned().collect();
        if namespace.sources.is_empty() && !is_opted_in {
            self.namespaces.remove(name);
        }
        inside
    }

    /// Requests a look at a source at `time`. The latest request counts.
    pub(super) fn request_look(&mut self, source: &Source, time: Instant) {
        if let Some(entry) = self.sources.get_mut(source) {
            entry.requested = entry.requested.max(Some(time));
        }
    }

    /// Time of the last requested look at a source.
    pub(super) fn requested_look(&self, source: &Reference) -> Option<Instant> {
        self.sources.get(source)?.requested
    }

    /// Returns whether a workload in an opted-in namespace runs the source.
    pub(super) fn is_in_demand(&self, source: &Reference) -> bool {
        self.sources.get(source).is_some_and(|entry| entry.enabled > 0)
    }

    /// The sources that workloads in opted-in namespaces run.
    pub(super) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|(_, entry)| entry.enabled > 0).map(|(source, _)| source)
    }

    /// The consumers of a source in opted-in namespaces, sorted. Consumers that differ only in their event
    /// target appear once for each target, until there are ten targets.
    pub(super) fn consumers(&self, source: &Reference) -> Vec<Consumer> {
        let Some(entry) = self.sources.get(source) else { return Vec::new() };
        let mut found = Vec::with_capacity(entry.enabled);
        let mut left = MAX_EVENT_TARGETS;
        for Consumers { access, pulls_always, targets, .. } in &entry.consumers {
            if !self.is_opted_in(&access.namespace) {
                continue;
            }
            let consumer = |event_target| Consumer {
                namespace: access.namespace.clone(),
                pull_secrets: access.pull_secrets.clone(),
                service_account: access.service_account.clone(),
                pulls_always: *pulls_always,
                event_target,
            };
            let before = found.len();
            let targets = targets.iter().take(left).map(|target| target.in_namespace(&access.namespace));
            found.extend(targets.map(|target| consumer(Some(target))));
            left -= found.len() - before;
            if found.len() == before {
                found.push(consumer(None));
            }
        }
        found
    }

    /// Returns whether a namespace is opted in.
    pub(super) fn is_opted_in(&self, namespace: &str) -> bool {
        self.namespaces.get(namespace).is_some_and(|namespace| namespace.is_opted_in)
    }

    /// Number of entries, for tests of released memory.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.sources.len() + self.namespaces.len()
    }
}

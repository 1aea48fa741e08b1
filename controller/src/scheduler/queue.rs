//! The records that wait for a look, by registry and namespace.
//!
//! [`Queue`] is a synchronous state machine: records and results go in, the record to look at next comes out.
//!
//! - Each registry has its own limits, so that one that is slow or away delays only its own sources.
//! - The namespaces of a registry take turns, so that one with thousands of tags delays no other.
//! - In a namespace, a look that a changed pod template asks for comes first, then the record that is due for the
//!   longest time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zstart_registry::Backoff;

use super::breaker::Breaker;

/// Maximum number of concurrent looks.
const MAX_LOOKS: usize = 64;
/// Maximum number of concurrent looks at one registry.
const MAX_REGISTRY_LOOKS: usize = 8;
/// Maximum number of planned conversions that wait for a permit: each holds the manifests of an image in memory.
pub(super) const MAX_PLANNED: usize = 128;
/// Looks that may start at once in a registry that was idle.
const BURST: u32 = 256;
/// Time between two looks at one registry, on average: 40 looks a second, or 12,000 tags in five minutes. Amazon ECR
/// answers 2,000 `BatchGetImage` a second.
const SPACING: Duration = Duration::from_millis(25);
/// The same for Docker Hub, which limits all requests of an address to some thousands a minute
/// (docs.docker.com, "Docker Hub usage and limits", "Abuse rate limit").
const DOCKER_HUB_SPACING: Duration = Duration::from_millis(100);
/// Looks in a row without an answer after which a registry counts as unreachable.
const UNREACHABLE_AFTER: u32 = 3;
/// Delays between probes of an unreachable registry.
const PROBES: Backoff = Backoff { initial: Duration::from_secs(5), max: Duration::from_mins(5) };

/// Name of a record.
pub(super) type RecordName = Arc<str>;

/// Kind of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A changed pod template or a user asks for it.
    Requested,
    /// It is due because time has passed.
    Routine,
    /// The first one. It may lead to a conversion.
    First,
}

/// A look that a record waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) registry: Arc<str>,
    /// Namespace of a consumer. The namespaces of a registry take turns.
    pub(super) namespace: Arc<str>,
    pub(super) kind: Kind,
    pub(super) due: Instant,
}

/// Result of [`Queue::next`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Look at this record now. [`Queue::release`] ends the look.
    Start(RecordName, Look),
    /// Nothing can start before this time.
    Wait(Instant),
    /// Nothing can start before a look ends or a record is added.
    Idle,
}

/// Evidence of a finished look about its registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reachability {
    /// The registry answered.
    Answered,
    /// The registry didn't answer.
    Unreachable,
    /// No request was sent.
    Unknown,
}

/// Records that wait for a look.
#[derive(Debug, Default)]
pub(super) struct Queue {
    looks: HashMap<RecordName, Look>,
    registries: HashMap<Arc<str>, Registry>,
    running: usize,
}

/// Waiting records of one registry, and the registry's limits.
#[derive(Debug)]
struct Registry {
    /// Waiting records by namespace.
    lanes: BTreeMap<Arc<str>, Lane>,
    /// Namespace that had the last turn.
    last_turn: Arc<str>,
    running: usize,
    /// Time at which the next look would start if all looks were spaced evenly.
    paced_until: Instant,
    spacing: Duration,
    breaker: Breaker,
}

/// Waiting records of one namespace, by due time.
#[derive(Debug, Default)]
struct Lane {
    requested: BTreeSet<(Instant, RecordName)>,
    routine: BTreeSet<(Instant, RecordName)>,
    first: BTreeSet<(Instant, RecordName)>,
}

impl Queue {
    /// Adds a record, or changes the look that it waits for.
    pub(super) fn insert(&mut self, record: &RecordName, look: Look, now: Instant) {
        if self.looks.get(record) == Some(&look) {
            return;
        }
        self.remove(record);
        let registry = Arc::clone(&look.registry);
        let registry = self.registries.entry(registry).or_insert_with_key(|name| Registry::new(name, now));
        let lane = registry.lanes.entry(Arc::clone(&look.namespace)).or_default();
        lane.set(look.kind).insert((look.due, Arc::clone(record)));
        self.looks.insert(Arc::clone(record), look);
    }

    /// Removes a record that is gone, or that needs no look.
    pub(super) fn remove(&mut self, record: &RecordName) {
        let Some(look) = self.looks.remove(record) else { return };
        let Some(registry) = self.registries.get_mut(&look.registry) else { return };
        if let Some(lane) = registry.lanes.get_mut(&look.namespace) {
            lane.set(look.kind).remove(&(look.due, Arc::clone(record)));
            if lane.is_empty() {
                registry.lanes.remove(&look.namespace);
            }
        }
        self.prune(&look.registry);
    }

    /// Chooses the record to look at next. First looks wait while `planned` conversions are too many.
    pub(super) fn next(&mut self, now: Instant, planned: usize) -> Next {
        if self.running >= MAX_LOOKS {
            return Next::Idle;
        }
        let permits_first = planned < MAX_PLANNED;
        let mut wait: Option<Instant> = None;
        let mut best: Option<(Instant, Arc<str>)> = None;
        for (name, registry) in &self.registries {
            let Some(at) = registry.next_start(permits_first, now) else { continue };
            if at > now {
                wait = Some(wait.map_or(at, |wait| wait.min(at)));
            } else if best.as_ref().is_none_or(|(best, _)| at < *best) {
                best = Some((at, Arc::clone(name)));
            }
        }
        let Some((_, name)) = best else { return wait.map_or(Next::Idle, Next::Wait) };
        let Some(registry) = self.registries.get_mut(&name) else { unreachable!("the name is a key") };
        let Some(record) = registry.take_turn(permits_first, now) else {
            unreachable!("a registry that can start has a record that is due")
        };
        self.running += 1;
        let Some(look) = self.looks.remove(&record) else { unreachable!("lanes have waiting records only") };
        Next::Start(record, look)
    }

    /// Ends the look of a registry.
    pub(super) fn release(&mut self, registry: &Arc<str>) {
        self.running = self.running.saturating_sub(1);
        if let Some(found) = self.registries.get_mut(registry) {
            found.running = found.running.saturating_sub(1);
        }
        self.prune(registry);
    }

    /// Records the evidence of a look. Returns whether the registry became unreachable just now.
    pub(super) fn record(&mut self, registry: &Arc<str>, evidence: Reachability, now: Instant) -> bool {
        let new = || Registry::new(registry, now);
        let found = self.registries.entry(Arc::clone(registry)).or_insert_with(new);
        let became_unreachable = match evidence {
            Reachability::Answered => {
                if found.breaker.record_answer() {
                    tracing::info!(%registry, "registry answers again");
                }
                false
            }
            Reachability::Unreachable => found.breaker.record_failure(now),
            Reachability::Unknown => false,
        };
        self.prune(registry);
        became_unreachable
    }

    /// Returns whether a registry counts as unreachable.
    pub(super) fn is_unreachable(&self, registry: &str) -> bool {
        self.registries.get(registry).is_some_and(|registry| registry.breaker.is_open())
    }

    /// The records of a registry that wait for their first look, in the order of the namespaces' turns.
    pub(super) fn first_looks(&self, registry: &str) -> Vec<RecordName> {
        let Some(registry) = self.registries.get(registry) else { return Vec::new() };
        let mut order = Vec::new();
        let mut lanes: Vec<_> = registry.in_turn().map(|(_, lane)| lane.first.iter()).collect();
        while !lanes.is_empty() {
            lanes.retain_mut(|lane| {
                let next = lane.next();
                order.extend(next.map(|(_, record)| Arc::clone(record)));
                next.is_some()
            });
        }
        order
    }

    /// Number of first looks before that of a record which is added now. The turns of another namespace may be fewer.
    pub(super) fn ahead_of_new(&self, registry: &str, namespace: &str) -> usize {
        let Some(registry) = self.registries.get(registry) else { return 0 };
        let own = registry.lanes.get(namespace).map_or(0, |lane| lane.first.len());
        let others = registry.lanes.iter().filter(|(name, _)| &***name != namespace);
        others.map(|(_, lane)| lane.first.len().min(own + 1)).sum::<usize>() + own
    }

    /// Registries with records that wait, except those that count as unreachable.
    pub(super) fn reachable_registries(&self) -> Vec<Arc<str>> {
        let reachable = self.registries.iter().filter(|(_, registry)| !registry.breaker.is_open());
        reachable.map(|(name, _)| Arc::clone(name)).collect()
    }

    /// Registries that count as unreachable.
    pub(super) fn unreachable_registries(&self) -> BTreeSet<Arc<str>> {
        let unreachable = self.registries.iter().filter(|(_, registry)| registry.breaker.is_open());
        unreachable.map(|(name, _)| Arc::clone(name)).collect()
    }

    /// Number of records whose look is due.
    pub(super) fn overdue(&self, now: Instant) -> usize {
        self.looks.values().filter(|look| look.due <= now).count()
    }

    /// Forgets a registry without records, looks and outage.
    fn prune(&mut self, registry: &Arc<str>) {
        let is_idle = self.registries.get(registry).is_some_and(|registry| {
            registry.lanes.is_empty() && registry.running == 0 && !registry.breaker.is_open()
        });
        if is_idle {
            self.registries.remove(registry);
        }
    }
}

impl Registry {
    fn new(name: &str, now: Instant) -> Self {
        let spacing = if name == "docker.io" { DOCKER_HUB_SPACING } else { SPACING };
        Self {
            lanes: BTreeMap::new(),
            last_turn: Arc::from(""),
            running: 0,
            paced_until: now,
            spacing,
            breaker: Breaker::new(UNREACHABLE_AFTER, PROBES),
        }
    }

    /// Time of the next start, possibly in the past; `None` while a running look decides.
    fn next_start(&self, permits_first: bool, now: Instant) -> Option<Instant> {
        if self.running >= MAX_REGISTRY_LOOKS {
            return None;
        }
        let due = self.lanes.values().filter_map(|lane| lane.earliest(permits_first)).min()?;
        let paced = self.paced_until.checked_sub(self.spacing * BURST).unwrap_or(now);
        let reachable = self.breaker.may_start_at(now, self.running)?;
        // A requested look's time in the past competes as what is due for the longest time.
        Some(if reachable > now || paced > now { due.max(reachable).max(paced) } else { due })
    }

    /// The namespaces, beginning with the one whose turn is next.
    fn in_turn(&self) -> impl Iterator<Item = (&Arc<str>, &Lane)> {
        let last = &self.last_turn;
        let later = self.lanes.range::<Arc<str>, _>((Bound::Excluded(last), Bound::Unbounded));
        later.chain(self.lanes.range::<Arc<str>, _>((Bound::Unbounded, Bound::Included(last))))
    }

    /// Takes the record whose turn it is.
    fn take_turn(&mut self, permits_first: bool, now: Instant) -> Option<RecordName> {
        let is_due = |lane: &Lane| lane.earliest(permits_first).is_some_and(|due| due <= now);
        let namespace = Arc::clone(self.in_turn().find(|(_, lane)| is_due(lane))?.0);
        let lane = self.lanes.get_mut(&namespace)?;
        let record = lane.take(permits_first, now)?;
        if lane.is_empty() {
            self.lanes.remove(&namespace);
        }
        self.last_turn = namespace;
        self.running += 1;
        self.paced_until = self.paced_until.max(now) + self.spacing;
        Some(record)
    }
}

impl Lane {
    fn set(&mut self, kind: Kind) -> &mut BTreeSet<(Instant, RecordName)> {
        match kind {
            Kind::Requested => &mut self.requested,
            Kind::Routine => &mut self.routine,
            Kind::First => &mut self.first,
        }
    }

    fn is_empty(&self) -> bool {
        self.requested.is_empty() && self.routine.is_empty() && self.first.is_empty()
    }

    /// Earliest due time.
    fn earliest(&self, permits_first: bool) -> Option<Instant> {
        let first = self.first.first().filter(|_| permits_first);
        let sets = [self.requested.first(), self.routine.first(), first];
        sets.into_iter().flatten().map(|(due, _)| *due).min()
    }

    /// Takes a requested look that is due, or the record that is due for the longest time.
    fn take(&mut self, permits_first: bool, now: Instant) -> Option<RecordName> {
        let due = |set: &BTreeSet<(Instant, RecordName)>| {
            set.first().map(|(due, _)| *due).filter(|due| *due <= now)
        };
        if due(&self.requested).is_some() {
            return self.requested.pop_first().map(|(_, record)| record);
        }
        let (routine, first) = (due(&self.routine), due(&self.first).filter(|_| permits_first));
        let takes_first = match (routine, first) {
            (None, None) => return None,
            (Some(routine), Some(first)) => first < routine,
            (None, Some(_)) => true,
            (Some(_), None) => false,
        };
        let set = if takes_first { &mut self.first } else { &mut self.routine };
        set.pop_first().map(|(_, record)| record)
    }
}

#[cfg(test)]
mod tests;

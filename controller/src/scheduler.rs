//! Decides which record is reconciled next.
//!
//! One watch on the records' metadata, the changes of the demand, and the results of reconciliations go in. The
//! [`queue`] keeps the order, [`conversions`] the order of conversions. Nothing polls and nothing scans: a change
//! names the records that it touches.
//!
//! While the API server accepts no writes, no registry is asked: the answer couldn't be recorded.

use std::collections::{BTreeSet, HashMap};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::future::join;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt as _};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::watch::{Receiver, Sender};
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use zstart_core::record::{RecordReason, record_name};
use zstart_core::{ImageConversion, Reference};
use zstart_process::watch::{self, WatchCache};
use zstart_registry::Backoff;

use self::breaker::Breaker;
use self::looks::Finished;
use self::positions::Shown;
use self::queue::{Look, Next, Queue, RecordName};
use self::unused::Unused;
use self::writes::{Write, Written};
use crate::context::Context;
use crate::demand::{Changes, Consumer, Source};
use crate::reconcile;
use crate::records::RecordMeta;
use crate::sweep;

mod breaker;
pub(crate) mod conversions;
mod looks;
mod positions;
mod queue;
mod slot;
#[cfg(test)]
mod tests;
mod unused;
mod writes;

pub(crate) use queue::{Kind, Reachability};
pub(crate) use slot::LookSlot;

/// Maximum number of concurrent requests that create records or note that they wait.
const MAX_WRITES: usize = 8;
/// Interval between two counts of the work that waits.
const COUNT_INTERVAL: Duration = Duration::from_secs(10);
/// Delays between probes of an API server that accepts no writes.
const API_PROBES: Backoff = Backoff { initial: Duration::from_secs(5), max: Duration::from_mins(5) };

/// Notices of changes of a record that is reconciled, and of its consumers. The sender is dropped when the record is
/// gone or another one.
pub(crate) type RecordChanges = Receiver<()>;

/// Runs forever.
pub(crate) async fn run(context: Arc<Context>) {
    // Without the looks of an earlier process, all sources would be due now.
    sweep::restore(&context).await;
    let (written, sweeps) = mpsc::unbounded_channel();
    join(schedule(Arc::clone(&context), sweeps), sweep::keep(&context, written)).await;
}

async fn schedule(context: Arc<Context>, mut sweeps: UnboundedReceiver<bool>) {
    let watched = Api::<PartialObjectMeta<ImageConversion>>::all(context.client.clone());
    let mut events = watch::events("imageconversions", watched, watcher::Config::default());
    let mut changes = pin!(context.demand.changes());
    let (freed, mut slots) = mpsc::unbounded_channel();
    let mut scheduler = Scheduler::new(Arc::clone(&context), freed);
    context.demand.wait_until_synced().await;
    let mut counts = tokio::time::interval(COUNT_INTERVAL);
    loop {
        let wake = scheduler.start();
        tokio::select! {
            event = events.next() => {
                let Some(event) = event else { return };
                scheduler.apply(event);
            }
            changed = changes.next() => {
                let Some(changed) = changed else { return };
                scheduler.apply_changes(&changed);
            }
            _ = counts.tick() => {
                scheduler.count();
                scheduler.write_positions(Instant::now());
            }
            Some(is_accepted) = sweeps.recv() => {
                if is_accepted {
                    scheduler.api_server_answered();
                } else {
                    scheduler.api_server_failed(Instant::now());
                }
            }
            Some(registry) = slots.recv() => scheduler.free(&registry),
            Some(done) = scheduler.reconciliations.join_next() => scheduler.finish(done),
            Some(done) = scheduler.writes.join_next() => scheduler.finish_write(done),
            () = sleep_until(wake.unwrap_or_else(Instant::now).into()), if wake.is_some() => {}
        }
    }
}

/// State of the scheduler's loop.
struct Scheduler {
    context: Arc<Context>,
    records: WatchCache<RecordName, RecordMeta>,
    entries: HashMap<RecordName, Entry>,
    queue: Queue,
    /// Records that wait for a write, and the earliest time of the write.
    to_write: BTreeSet<(Instant, RecordName)>,
    /// Records that no workload uses, and the time at which they are marked or deleted.
    unused: BTreeSet<(Instant, RecordName)>,
    api_server: Breaker,
    /// Looks that hold a slot.
    looks: usize,
    reconciliations: JoinSet<Finished>,
    /// Number of the last reconciliation.
    runs: u64,
    writes: JoinSet<(RecordName, kube::Result<Written>)>,
    freed: UnboundedSender<Arc<str>>,
}

/// A record, or a source in demand without a record.
#[derive(Debug, Default)]
struct Entry {
    /// `None` until the record of a source without consumers is read.
    source: Option<Source>,
    /// Present as long as no workload uses the record.
    unused: Option<Unused>,
    /// The first look may be more than the confirmation of a verdict that an earlier process recorded.
    needs_first_look: bool,
    /// Time since which the next look is due. It decides the record's place in the queue.
    due_since: Option<Instant>,
    /// Position that the record shows while it waits for its first look.
    shown: Option<Shown>,
    state: State,
}

/// Work on a record.
#[derive(Debug, Default)]
enum State {
    /// The record waits in the queue, or nothing is due.
    #[default]
    Waiting,
    /// The record is reconciled now.
    Running {
        run: u64,
        uid: Box<str>,
        /// The record or its consumers have changed since.
        is_outdated: bool,
        /// Tells the run of each such change.
        changes: Sender<()>,
    },
    /// A write waits or runs. The record isn't reconciled meanwhile.
    Writing(Write),
}

impl Scheduler {
    fn new(context: Arc<Context>, freed: UnboundedSender<Arc<str>>) -> Self {
        Self {
            context,
            records: WatchCache::default(),
            entries: HashMap::new(),
            queue: Queue::default(),
            to_write: BTreeSet::new(),
            unused: BTreeSet::new(),
            api_server: Breaker::new(1, API_PROBES),
            looks: 0,
            reconciliations: JoinSet::new(),
            runs: 0,
            writes: JoinSet::new(),
            freed,
        }
    }

    /// Applies an event on records.
    fn apply(&mut self, event: Event<PartialObjectMeta<ImageConversion>>) {
        let was_synced = self.records.is_synced();
        let changed = self
            .records
            .apply(event, |record| (record.name_any().into(), Some(RecordMeta::of(&record.metadata))));
        for name in &changed {
            let entry = self.entries.entry(Arc::clone(name)).or_default();
            entry.needs_first_look |= was_synced;
        }
        if !was_synced && self.records.is_synced() {
            self.context.sweep.retain(self.records.iter().map(|(name, _)| &**name));
            self.refresh_all();
        }
        for name in &changed {
            self.refresh(name);
        }
    }

    /// Applies changes of the demand. The first ones name every source.
    fn apply_changes(&mut self, changes: &Changes) {
        for source in &changes.sources {
            let name: RecordName = record_name(source).into();
            self.entries.entry(Arc::clone(&name)).or_default().source = Some(Source::clone(source));
            self.refresh(&name);
        }
        if changes.platforms {
            self.refresh_all();
        }
    }

    fn refresh_all(&mut self) {
        let names: Vec<RecordName> = self.entries.keys().cloned().collect();
        for name in &names {
            self.refresh(name);
        }
    }

    /// Brings the next step of a record up to date.
    fn refresh(&mut self, name: &RecordName) {
        // Before the first list is complete, every record would seem to be missing.
        if !self.records.is_synced() {
            return;
        }
        let Some(entry) = self.entries.get_mut(name) else { return };
        let record = self.records.get(name).cloned();
        match &mut entry.state {
            State::Waiting => {}
            // The run of a record that was deleted goes on: the next record finds its variant.
            State::Running { uid, .. } if record.as_ref().is_none_or(|record| record.uid != *uid) => {
                entry.state = State::Waiting;
            }
            State::Running { is_outdated, changes, .. } => {
                *is_outdated = true;
                changes.send_replace(());
                return;
            }
            State::Writing(_) => return,
        }
        let source = entry.source.clone();
        let consumers = match &source {
            Some(source) => self.context.demand.read(|demand| demand.consumers(source)),
            None => Vec::new(),
        };
        if let Some(record) = &record
            && self.mark_or_delete(name, record, !consumers.is_empty())
        {
            return;
        }
        match (record, source) {
            (None, Some(source)) if !consumers.is_empty() => {
                // A new record doesn't inherit the look at an old one.
                self.context.sweep.forget(name);
                self.write_at(name, Write::Create(Reference::clone(&source)), Instant::now());
            }
            (None, _) => self.forget(name),
            (Some(record), None) if !record.is_own => self.write_at(name, Write::ReadSource, Instant::now()),
            (Some(_), None) => {}
            (Some(record), Some(source)) => self.enqueue(name, &record, &source, &consumers),
        }
    }

    /// Removes a record that is gone, and not in demand.
    fn forget(&mut self, name: &RecordName) {
        self.queue.remove(name);
        if let Some(Unused { at, .. }) = self.entries.remove(name).and_then(|entry| entry.unused) {
            self.unused.remove(&(at, Arc::clone(name)));
        }
        self.context.attempts.remove(name);
        self.context.repositories.remove(name);
        self.context.sweep.forget(name);
    }

    /// Queues the next look at a record.
    fn enqueue(
        &mut self,
        name: &RecordName,
        record: &RecordMeta,
        source: &Reference,
        consumers: &[Consumer],
    ) {
        let next = reconcile::next_look(&self.context, name, record, source, consumers);
        let Some(entry) = self.entries.get_mut(name) else { return };
        let Some(next) = next else {
            entry.due_since = None;
            self.queue.remove(name);
            return;
        };
        let kind = match next.kind {
            Kind::First if next.is_unknown && !entry.needs_first_look => Kind::Routine,
            kind => kind,
        };
        let now = Instant::now();
        let is_due = next.due <= now;
        // A record that waits keeps its place.
        entry.due_since = is_due.then(|| entry.due_since.unwrap_or(next.due));
        if is_due && kind == Kind::First && next.is_unknown {
            entry.shown.get_or_insert(Shown::unknown(now));
        }
        let due = entry.due_since.unwrap_or(next.due);
        let namespace = consumers.first().map_or("", |consumer| consumer.namespace.as_str());
        let look = Look { registry: source.registry().into(), namespace: namespace.into(), kind, due };
        self.queue.insert(name, look, now);
    }

    /// Starts everything that can start now. Returns the time at which more can start.
    fn start(&mut self) -> Option<Instant> {
        if !self.records.is_synced() {
            return None;
        }
        loop {
            let now = Instant::now();
            let may_start = self.api_server.may_start_at(now, self.looks + self.writes.len())?;
            if may_start > now {
                return Some(may_start);
            }
            self.refresh_unused(now);
            let next_write =
                self.to_write.first().map(|(at, _)| *at).filter(|_| self.writes.len() < MAX_WRITES);
            if next_write.is_some_and(|at| at <= now) {
                self.start_write();
                continue;
            }
            let planned = self.reconciliations.len().saturating_sub(self.looks);
            match self.queue.next(now, planned) {
                Next::Start(name, look) => self.start_look(name, look),
                next => {
                    let next_unused = self.unused.first().map(|(at, _)| *at);
                    let next_look = if let Next::Wait(at) = next { Some(at) } else { None };
                    return [next_write, next_unused, next_look].into_iter().flatten().min();
                }
            }
        }
    }

    /// Counts the work that waits.
    fn count(&self) {
        let Context { metrics, conversion_permits, attempts, .. } = &*self.context;
        let looks = self.queue.overdue(Instant::now());
        metrics.set_backlog(looks, conversion_permits.waiting(), self.queue.unreachable_registries().len());
        let mut reasons = attempts.reasons();
        // An earlier process has looked at the others.
        let is_pending =
            |name: &str| !attempts.contains(name) && self.context.sweep.earlier_look(name).is_none();
        let pending = self.records.iter().filter(|(name, _)| is_pending(name)).count();
        *reasons.entry(RecordReason::Pending).or_default() += pending;
        metrics.set_records(&reasons);
    }
}

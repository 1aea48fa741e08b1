//! Starts looks, and records how they ended: about the record, its registry and the API server.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tokio::task::JoinError;
use tracing::{info, warn};

use super::queue::{Look, RecordName};
use super::slot::LookSlot;
use super::writes::Write;
use super::{Kind, Reachability, Scheduler, State};
use crate::reconcile::{self, Job, Reconciled};

/// A reconciliation that ended.
pub(super) struct Finished {
    name: RecordName,
    run: u64,
    registry: Arc<str>,
    reconciled: Reconciled,
}

impl Scheduler {
    /// Starts the look at a record.
    pub(super) fn start_look(&mut self, name: RecordName, look: Look) {
        let slot = LookSlot::new(Arc::clone(&look.registry), self.freed.clone());
        self.looks += 1;
        let (Some(record), Some(entry)) = (self.records.get(&name).cloned(), self.entries.get_mut(&name))
        else {
            return;
        };
        (entry.due_since, entry.shown) = (None, None);
        self.runs += 1;
        let run = self.runs;
        let (told, changes) = watch::channel(());
        entry.state = State::Running { run, uid: record.uid.clone(), is_outdated: false, changes: told };
        let (context, permits_first) = (Arc::clone(&self.context), look.kind != Kind::Routine);
        self.reconciliations.spawn(async move {
            let job = Job { name: &name, record: &record, permits_first, slot: &slot, changes };
            let reconciled = reconcile::reconcile(&context, job).await;
            drop(slot);
            Finished { name, run, registry: look.registry, reconciled }
        });
    }

    /// Ends a look: the reconciliation is complete, or a conversion follows.
    pub(super) fn free(&mut self, registry: &Arc<str>) {
        self.looks = self.looks.saturating_sub(1);
        self.queue.release(registry);
    }

    /// Ends a reconciliation, and queues what follows.
    pub(super) fn finish(&mut self, done: Result<Finished, JoinError>) {
        let done = done.unwrap_or_else(|error| resume_unwind(error.into_panic()));
        let Finished { name, run, registry, reconciled } = done;
        let now = Instant::now();
        let mut may_be_due = false;
        if let Some(entry) = self.entries.get_mut(&name)
            && let State::Running { run: current, is_outdated, .. } = entry.state
            && current == run
        {
            // The watch reports a record that is gone, or has done so already.
            may_be_due = is_outdated || reconciled != Reconciled::Gone;
            entry.state = State::Waiting;
            entry.needs_first_look |= reconciled == Reconciled::NeedsFirstLook;
        }
        let reachability = match reconciled {
            Reconciled::Done { reachability, is_written } => {
                // A look that finds nothing new proves nothing about the API server.
                if is_written {
                    self.api_server_answered();
                }
                reachability
            }
            Reconciled::Rejected { reachability, is_outage } => {
                if is_outage {
                    self.api_server_failed(now);
                }
                reachability
            }
            Reconciled::NeedsFirstLook | Reconciled::Gone => Reachability::Unknown,
        };
        let before = self.queue.unreachable_registries();
        if self.queue.record(&registry, reachability, now) {
            self.hold(&registry);
        }
        let unreachable = self.queue.unreachable_registries();
        if unreachable != before {
            self.context.sweep.set_unreachable(unreachable);
        }
        if !self.entries.contains_key(&name) {
            // The record went while the run went on.
            self.forget(&name);
        }
        if may_be_due {
            self.refresh(&name);
        }
    }

    /// Notes on the records of an unreachable registry that they wait.
    fn hold(&mut self, registry: &Arc<str>) {
        let waiting = self.queue.first_looks(registry);
        warn!(%registry, waiting = waiting.len(), "registry doesn't answer, probing it until it does");
        for name in waiting {
            self.queue.remove(&name);
            if let Some(entry) = self.entries.get_mut(&name) {
                entry.shown = None;
            }
            self.write_at(&name, Write::Hold(Arc::clone(registry)), Instant::now());
        }
    }

    /// The API server accepted a write.
    pub(super) fn api_server_answered(&mut self) {
        if self.api_server.record_answer() {
            info!("the API server accepts writes again");
        }
    }

    /// The API server accepted no write.
    pub(super) fn api_server_failed(&mut self, now: Instant) {
        if self.api_server.record_failure(now) {
            warn!("the API server accepts no writes, so looks at registries pause");
        }
    }
}

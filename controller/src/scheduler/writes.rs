//! Writes that prepare a record for its first look, or end one that no workload uses.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::task::JoinError;
use tracing::warn;
use zstart_core::{Reference, chain};

use super::positions::{Position, Shown};
use super::queue::RecordName;
use super::{Scheduler, State};
use crate::context::Context;
use crate::demand::Source;
use crate::reconcile;
use crate::records::{self, RecordMeta};

/// Delay before a write is tried again that the API server rejected because of its content.
const REJECTED_DELAY: Duration = Duration::from_mins(5);

/// A request about one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// Creates the record of this source.
    Create(Reference),
    /// Reads the source of a record that a user made.
    ReadSource,
    /// Notes since when no workload uses the record with this UID, or that one does again.
    MarkUnused { uid: Box<str>, since: Option<Timestamp> },
    /// Deletes the record with this UID.
    Delete { uid: Box<str>, unused_since: Timestamp },
    /// Notes that the first look waits for this registry, which doesn't answer.
    Hold(Arc<str>),
    /// Notes the position of the first look.
    Position(Position),
}

/// Result of a [`Write`].
#[derive(Debug)]
pub(super) enum Written {
    Created(RecordMeta),
    /// `None` if the record is gone.
    Marked(Option<RecordMeta>),
    Deleted,
    /// `None` if the record is gone.
    Source(Option<Reference>),
    /// The record says for what its first look waits.
    Waiting,
}

/// Carries out a write. `position` is that of a new record whose registry answers.
pub(super) async fn carry_out(
    context: &Context,
    name: &str,
    write: Write,
    position: Option<Position>,
) -> kube::Result<Written> {
    let client = &context.client;
    match write {
        Write::Create(source) => {
            let registry = source.registry().to_owned();
            let record = records::create(client, name, source.clone()).await?;
            tracing::info!(record = name, %source, "created a record");
            // A record without conditions would look like one that is forgotten.
            match position {
                Some(position) => reconcile::wait(context, name, &position.message()).await?,
                None => reconcile::hold(context, name, &registry).await?,
            }
            Ok(Written::Created(record))
        }
        Write::MarkUnused { uid, since } => {
            Ok(Written::Marked(records::mark_unused(client, name, &uid, since).await?))
        }
        Write::Delete { uid, unused_since } => {
            records::delete(client, name, &uid).await?;
            tracing::info!(record = name, %unused_since, "deleted a record that no workload uses");
            Ok(Written::Deleted)
        }
        Write::ReadSource => Ok(Written::Source(records::source_of(client, name).await?)),
        Write::Hold(registry) => {
            reconcile::hold(context, name, &registry).await?;
            Ok(Written::Waiting)
        }
        Write::Position(position) => {
            reconcile::wait(context, name, &position.message()).await?;
            Ok(Written::Waiting)
        }
    }
}

impl State {
    /// UID of the unused record that this write is about, if it is about one.
    fn unused_record(&self) -> Option<&str> {
        match self {
            Self::Writing(Write::MarkUnused { uid, .. } | Write::Delete { uid, .. }) => Some(uid),
            _ => None,
        }
    }
}

impl Scheduler {
    /// Queues a write. The record isn't reconciled before its end.
    pub(super) fn write_at(&mut self, name: &RecordName, write: Write, at: Instant) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.state = State::Writing(write);
            self.to_write.insert((at, Arc::clone(name)));
        }
    }

    /// Starts the write that is due first.
    pub(super) fn start_write(&mut self) {
        let Some((_, name)) = self.to_write.pop_first() else { return };
        let Some(entry) = self.entries.get_mut(&name) else { return };
        let State::Writing(write) = &entry.state else { return };
        let ends_use = matches!(write, Write::MarkUnused { since: Some(_), .. } | Write::Delete { .. });
        let demand = &self.context.demand;
        if ends_use
            && let Some(source) = &entry.source
            && demand.read(|demand| demand.is_in_demand(source))
        {
            // A workload runs the source since the write was queued.
            entry.state = State::Waiting;
            self.refresh(&name);
            return;
        }
        let (context, write) = (Arc::clone(&self.context), write.clone());
        let mut position = None;
        if let Write::Create(source) = &write
            && !self.queue.is_unreachable(source.registry())
        {
            let consumers = demand.read(|demand| demand.consumers(source));
            let namespace = consumers.first().map_or("", |consumer| consumer.namespace.as_str());
            let new = Position::of_new(&self.queue, source.registry(), namespace);
            entry.shown = Some(Shown::new(new.ahead, Instant::now()));
            position = Some(new);
        }
        self.writes.spawn(async move {
            let written = carry_out(&context, &name, write, position).await;
            (name, written)
        });
    }

    /// Ends a write, and queues what follows.
    pub(super) fn finish_write(&mut self, done: Result<(RecordName, kube::Result<Written>), JoinError>) {
        let (name, written) = done.unwrap_or_else(|error| resume_unwind(error.into_panic()));
        let now = Instant::now();
        let Some(entry) = self.entries.get_mut(&name) else { return };
        match written {
            Ok(written) => {
                let state = std::mem::take(&mut entry.state);
                let is_gone =
                    matches!(written, Written::Marked(None) | Written::Deleted | Written::Source(None));
                match written {
                    Written::Created(record) => {
                        entry.needs_first_look = true;
                        self.records.insert(Arc::clone(&name), record);
                    }
                    Written::Source(source) => entry.source = source.map(Source::new),
                    Written::Marked(Some(record)) => self.records.insert(Arc::clone(&name), record),
                    Written::Marked(None) | Written::Deleted | Written::Waiting => {}
                }
                self.api_server_answered();
                // The watch reports a record that is gone, or has done so already.
                let known = self.records.get(&name).map(|record| &*record.uid);
                let about = state.unused_record().or(known);
                let is_known_gone = is_gone && known.is_some() && known == about;
                if !is_known_gone {
                    self.refresh(&name);
                }
            }
            Err(error) => {
                warn!(record = %name, error = chain(&error), "failed to write a record");
                if let State::Writing(Write::Position(_)) = entry.state {
                    // The look doesn't wait for its message.
                    entry.state = State::Waiting;
                    if reconcile::is_outage(&error) {
                        self.api_server_failed(now);
                    }
                    self.refresh(&name);
                    return;
                }
                if entry.state.unused_record().is_some() {
                    // Without the right to delete records, the rest of the work goes on.
                    entry.state = State::Waiting;
                    self.postpone(&name, now + REJECTED_DELAY);
                    self.refresh(&name);
                    return;
                }
                let is_outage = reconcile::is_outage(&error);
                let delay = if is_outage { Duration::ZERO } else { REJECTED_DELAY };
                self.to_write.insert((now + delay, name));
                if is_outage {
                    self.api_server_failed(now);
                }
            }
        }
    }
}

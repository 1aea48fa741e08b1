//! Writes that prepare a record for its first look, or end one that no workload uses.

use std::sync::Arc;

use jiff::Timestamp;
use zstart_core::Reference;
use zstart_core::record::RecordReason;

use crate::context::Context;
use crate::reconcile;
use crate::records::{self, RecordMeta};

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
    Held,
}

/// Carries out a write. `is_reachable` says whether the registry of a new record answers.
pub(super) async fn carry_out(
    context: &Context,
    name: &str,
    write: Write,
    is_reachable: bool,
) -> kube::Result<Written> {
    let client = &context.client;
    match write {
        Write::Create(source) => {
            let registry = source.registry().to_owned();
            let record = records::create(client, name, source.clone()).await?;
            tracing::info!(record = name, %source, "created a record");
            // A record without conditions would look like one that is forgotten.
            if is_reachable {
                let message = "the source waits for its first look";
                reconcile::set_waiting(context, name, RecordReason::Pending, message).await?;
            } else {
                reconcile::hold(context, name, &registry).await?;
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
            Ok(Written::Held)
        }
    }
}

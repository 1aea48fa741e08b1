//! From a record to a variant that serves: [`reconciliation`] does the phases, [`status`] says how they went.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt as _};
use tracing::{info, warn};
use zstart_convert::PlatformSelection;
use zstart_core::record::{READY, RecordReason, condition};
use zstart_core::{ImageConversion, units};

use crate::context::Context;
use crate::demand::Consumer;
use crate::events::Kind;
use error::ReconcileError;
use reconciliation::{Outcome, Reconciliation};
use requeue::{Attempt, InputsHash, LastVerified};
use status_writer::StatusWriter;

mod backoff;
mod error;
mod reconciliation;
pub(crate) mod requeue;
mod status;
mod status_writer;

/// The pause after the API server didn't take a status.
const API_RETRY_DELAY: Duration = Duration::from_secs(5);

/// A record, or what is wrong with it: one that can't be read mustn't keep the others from being
/// followed.
pub(crate) type ReadRecord = DeserializeGuard<ImageConversion>;

/// Looks at the record's source if that is due, and says when it is due again.
pub(crate) async fn reconcile(record: Arc<ReadRecord>, context: Arc<Context>) -> kube::Result<Action> {
    let record = match &record.0 {
        Ok(record) => record,
        Err(error) => {
            warn!(record = error.metadata.name, %error, "ignoring a record that can't be read");
            return Ok(Action::await_change());
        }
    };
    // Whether anybody wants an image is known only then.
    context.demand.wait_until_synced().await;
    let consumers = context.demand.read(|demand| demand.consumers(&record.spec.source));
    if record.metadata.deletion_timestamp.is_some() || (consumers.is_empty() && has_outcome(record)) {
        // Who wants it again rings the bell.
        return Ok(Action::await_change());
    }
    let name = record.name_any();
    let platforms = context.platforms();
    let inputs = inputs(record, &consumers, &platforms);
    let last = context.attempts.last(&name, inputs);
    if let Some(remaining) = last.as_ref().and_then(|last| last.remaining(Instant::now())) {
        return Ok(Action::requeue(remaining));
    }
    // The watch may lag behind what the last look wrote.
    let records = Api::<ImageConversion>::all(context.client.clone());
    let Some(record) = records.get_opt(&name).await?.filter(|now| now.uid() == record.uid()) else {
        return Ok(Action::await_change());
    };
    let (failures, last_verified) = last.map(|last| (last.failures, last.last_verified)).unwrap_or_default();
    let reconciliation = Reconciliation {
        context: &context,
        record: &record,
        consumers: &consumers,
        settings: context.settings(platforms),
        last_verified,
    };
    let mut writer = StatusWriter::open(&context.client, &record);
    let outcome = tokio::select! {
        outcome = reconciliation.run(&mut writer) => outcome,
        () = context.shutdown.cancelled() => return Ok(Action::await_change()),
    };
    let (delay, failures, last_verified) =
        record_result(&reconciliation, &mut writer, outcome, failures).await?;
    writer.write().await?;
    context
        .attempts
        .insert(&name, Attempt { inputs, next_due: Instant::now() + delay, failures, last_verified });
    Ok(Action::requeue(delay))
}

/// What is done when the API server didn't take a status.
#[expect(clippy::needless_pass_by_value, reason = "kube asks for this signature")]
pub(crate) fn error_policy(record: Arc<ReadRecord>, error: &kube::Error, _context: Arc<Context>) -> Action {
    warn!(record = record.name_any(), error = error as &dyn std::error::Error, "could not write a status");
    Action::requeue(API_RETRY_DELAY)
}

/// Puts how it ended into the status, the events, the counters and the log. The delay until the next
/// look, how many failed in a row, and what that one can rely on.
async fn record_result(
    reconciliation: &Reconciliation<'_>,
    writer: &mut StatusWriter<'_>,
    outcome: Result<Outcome, ReconcileError>,
    failures: u32,
) -> kube::Result<(Duration, u32, Option<LastVerified>)> {
    let Reconciliation { context, record, consumers, .. } = *reconciliation;
    let recheck = context.config.recheck_interval;
    let (name, source) = (record.name_any(), &record.spec.source);
    // Never later than the setting says.
    let next = recheck.saturating_sub(backoff::jitter(recheck, &name));
    match outcome {
        Ok(Outcome::Unchanged(last_verified)) => {
            context.metrics.count_attempt(RecordReason::Verified);
            Ok((next, 0, Some(last_verified)))
        }
        Ok(Outcome::AlreadyZstd) => {
            writer.change(status::already_zstd);
            context.metrics.count_attempt(RecordReason::AlreadyZstd);
            Ok((next, 0, None))
        }
        Ok(Outcome::Ready(served)) => {
            let is_news = record
                .status
                .as_ref()
                .and_then(|status| status.variant.as_ref())
                .is_none_or(|variant| variant.reference != served.reference);
            writer.change(|status, now| status::served(status, &served, now));
            context.metrics.count_attempt(RecordReason::Verified);
            if is_news {
                let (before, after) = (served.image.source_bytes(), served.image.variant_bytes());
                let note = format!(
                    "{source} is served by {}: {} instead of {} to pull ({} less)",
                    served.reference,
                    units::size(after),
                    units::size(before),
                    units::saving(before, after),
                );
                info!(%source, variant = %served.reference, before, after, "a variant serves");
                context.events.publish(record, consumers, Kind::Normal, RecordReason::Converted, &note).await;
            }
            let last_verified =
                LastVerified { source: served.source.clone(), variant: served.image.digest.clone() };
            Ok((next, 0, Some(last_verified)))
        }
        Err(ReconcileError::Status(error)) => Err(error),
        Err(failure) => {
            let failures = failures.saturating_add(1);
            let delay = backoff::retry_delay(failure.class(), failures, recheck);
            // Never sooner than a registry asked for.
            let delay = delay + backoff::jitter(delay, &name);
            let (reason, text) = (failure.reason(), failure.to_string());
            warn!(%source, reason = reason.as_str(), error = text, ?delay, "a source isn't served by a variant");
            context.metrics.count_attempt(reason);
            writer.change(|status, now| status::failed(status, &failure, now));
            let note = format!("{source}: {text}");
            context.events.publish(record, consumers, Kind::Warning, reason, &note).await;
            // A variant that goes on to serve is compared again as soon as that is possible.
            Ok((delay, failures, reconciliation.last_verified.clone()))
        }
    }
}

/// What the next attempt depends on, besides time.
fn inputs(record: &ImageConversion, consumers: &[Consumer], platforms: &PlatformSelection) -> InputsHash {
    let who: BTreeSet<_> = consumers
        .iter()
        .map(|consumer| (&consumer.namespace, &consumer.pull_secrets, &consumer.service_account))
        .collect();
    let platforms: Option<Vec<String>> = match platforms {
        PlatformSelection::All => None,
        PlatformSelection::Only(list) => Some(list.iter().map(ToString::to_string).collect()),
    };
    InputsHash::of((record.uid(), record.metadata.generation, who, platforms))
}

/// Whether an earlier look came to an end.
fn has_outcome(record: &ImageConversion) -> bool {
    let ready = record.status.as_ref().and_then(|status| condition(status, READY));
    let under_way = [RecordReason::Pending, RecordReason::Converting].map(RecordReason::as_str);
    ready.is_some_and(|ready| !under_way.contains(&&*ready.reason))
}

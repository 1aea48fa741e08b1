//! Reconciles a record: finds or makes the variant of its source and records the result.
//!
//! [`reconciliation`] runs the phases, one file each: [`resolve`], [`plan`], [`execute`], [`status`]. [`result`]
//! records how they ended.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt as _};
use tracing::warn;
use zstart_convert::PlatformSelection;
use zstart_core::record::{ImageConversionStatus, READY, RecordReason, condition};
use zstart_core::{ImageConversion, keys};

use crate::config::Config;
use crate::context::Context;
use crate::demand::Consumer;
use crate::heal::{health, recover};
use reconciliation::Reconciliation;
use requeue::{Attempt, Inputs, InputsHash, Schedule};
use result::{Ended, record_result};
use status_writer::StatusWriter;

mod backoff;
mod error;
mod execute;
mod plan;
mod reconciliation;
mod request_time;
pub(crate) mod requeue;
mod resolve;
mod result;
mod status;
mod status_writer;
mod target;

/// Delay before a retry when the API server rejects a status.
const API_RETRY_DELAY: Duration = Duration::from_secs(5);

/// A record, or the reason why it can't be read. One unreadable record must not fail the watch of all.
pub(crate) type ReadRecord = DeserializeGuard<ImageConversion>;

/// Reconciles the record if that is due, and returns when it is due again.
pub(crate) async fn reconcile(record: Arc<ReadRecord>, context: Arc<Context>) -> kube::Result<Action> {
    let record = match &record.0 {
        Ok(record) => record,
        Err(error) => {
            warn!(record = error.metadata.name, %error, "ignoring an unreadable record");
            return Ok(Action::await_change());
        }
    };
    // Before the first lists are complete, the consumers are unknown.
    context.demand.wait_until_synced().await;
    let source = &record.spec.source;
    let (consumers, requested) =
        context.demand.read(|demand| (demand.consumers(source), demand.requested_look(source)));
    let is_done = has_outcome(record) || is_own(record);
    if record.metadata.deletion_timestamp.is_some() || (consumers.is_empty() && is_done) {
        // A new consumer changes the demand, which triggers a reconciliation.
        return Ok(Action::await_change());
    }
    let name = record.name_any();
    let platforms = context.platforms();
    let inputs = inputs_of(record, &consumers, &platforms);
    let last = context.attempts.last(&name, inputs.image);
    let started = Instant::now();
    // A record whose variant a pod couldn't pull asks for a verification in full.
    let is_questioned = health::is_proof_due(record.status.as_ref(), Timestamp::now());
    let settled = last.as_ref().filter(|last| last.failure.is_some() || !is_questioned);
    let remaining = settled.map(|last| {
        let schedule = schedule_of(record.status.as_ref(), record, &consumers, requested, &context.config);
        last.due(inputs.access, &schedule).saturating_duration_since(started)
    });
    if let Some(remaining) = remaining.filter(|remaining| !remaining.is_zero()) {
        return Ok(Action::requeue(remaining));
    }
    // The watch may lag behind the status that the last reconciliation wrote.
    let records = Api::<ImageConversion>::all(context.client.clone());
    let Some(record) = records.get_opt(&name).await?.filter(|now| now.uid() == record.uid()) else {
        return Ok(Action::await_change());
    };
    let is_questioned = health::is_proof_due(record.status.as_ref(), Timestamp::now());
    // The backoff begins again with other credentials.
    let failure = last.as_ref().filter(|last| last.inputs == inputs).and_then(|last| last.failure);
    let failures = failure.map_or(0, |failure| failure.count);
    let reconciliation = Reconciliation {
        context: &context,
        record: &record,
        consumers: &consumers,
        settings: context.settings(platforms),
        last_verified: last.and_then(|last| last.last_verified).filter(|_| !is_questioned),
    };
    let mut writer = StatusWriter::new(&context.client, &context.api_clock, &record);
    let result = tokio::select! {
        result = reconciliation.run(&mut writer) => result,
        () = context.shutdown.cancelled() => return Ok(Action::await_change()),
    };
    let Ended { failure, last_verified } =
        record_result(&reconciliation, &mut writer, result, failures).await?;
    writer.write().await?;
    let is_recovered =
        failure.is_none() && health::is_recovered(record.status.as_ref(), writer.status(), Timestamp::now());
    let looked_at = writer.looked_at().unwrap_or(started);
    let attempt = Attempt { inputs, looked_at, failure, last_verified };
    let schedule = schedule_of(Some(writer.status()), &record, &consumers, requested, &context.config);
    let due = attempt.due(inputs.access, &schedule);
    context.attempts.insert(&name, attempt);
    if is_recovered {
        recover(&context, &record).await?;
    }
    Ok(Action::requeue(due.saturating_duration_since(Instant::now())))
}

/// Logs a status that the API server rejected, and retries.
#[expect(clippy::needless_pass_by_value, reason = "kube asks for this signature")]
pub(crate) fn error_policy(record: Arc<ReadRecord>, error: &kube::Error, _context: Arc<Context>) -> Action {
    let error = error as &dyn std::error::Error;
    warn!(record = record.name_any(), error, "failed to write the status of a record");
    Action::requeue(API_RETRY_DELAY)
}

/// Returns the time at which the record's source is looked at.
fn schedule_of(
    status: Option<&ImageConversionStatus>,
    record: &ImageConversion,
    consumers: &[Consumer],
    requested: Option<Instant>,
    config: &Config,
) -> Schedule {
    let is_immutable =
        status.and_then(|status| status.source.as_ref()).is_some_and(|source| source.immutable);
    let is_movable = record.spec.source.digest().is_none() && !is_immutable;
    let pulls_always = consumers.iter().any(|consumer| consumer.pulls_always);
    let interval = if is_movable && pulls_always {
        config.recheck_interval_always.min(config.recheck_interval)
    } else {
        config.recheck_interval
    };
    // Never later than the setting.
    let interval = interval.saturating_sub(backoff::jitter(interval, &record.name_any()));
    Schedule { interval, requested, is_movable }
}

/// Hashes of everything but time that the next attempt depends on.
fn inputs_of(record: &ImageConversion, consumers: &[Consumer], platforms: &PlatformSelection) -> Inputs {
    let consumers: BTreeSet<_> = consumers
        .iter()
        .map(|consumer| (&consumer.namespace, &consumer.pull_secrets, &consumer.service_account))
        .collect();
    let platforms: Option<Vec<String>> = match platforms {
        PlatformSelection::All => None,
        PlatformSelection::Only(list) => Some(list.iter().map(ToString::to_string).collect()),
    };
    Inputs {
        image: InputsHash::of((record.uid(), record.metadata.generation, platforms)),
        access: InputsHash::of(consumers),
    }
}

/// Returns whether the controller created the record, for consumers. A record that a user created needs none.
fn is_own(record: &ImageConversion) -> bool {
    let mut managers = record.metadata.managed_fields.iter().flatten();
    managers.any(|entry| entry.manager.as_deref() == Some(keys::CONTROLLER) && entry.subresource.is_none())
}

/// Whether an earlier reconciliation ended, with or without a variant.
fn has_outcome(record: &ImageConversion) -> bool {
    let ready = record.status.as_ref().and_then(|status| condition(status, READY));
    let unfinished = [RecordReason::Pending, RecordReason::Converting].map(RecordReason::as_str);
    ready.is_some_and(|ready| !unfinished.contains(&&*ready.reason))
}

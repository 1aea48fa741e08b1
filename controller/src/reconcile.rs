//! Reconciles a record: finds or makes the variant of its source and records the result.
//!
//! [`reconciliation`] runs the phases, one file each: [`resolve`], [`plan`], [`execute`],
//! [`status`]. [`result`] records how they ended. The scheduler decides when; [`next_look()`] tells
//! it. [`waiting`] has the messages of records that wait.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use kube::{Api, ResourceExt as _};
use tracing::{debug, warn};
use zstart_convert::AcceptedSettings;
use zstart_core::record::{ImageConversionStatus, RecordReason, Requests};
use zstart_core::{ImageConversion, Platform};

use crate::context::Context;
use crate::executor::ConversionError;
use crate::heal::{health, recover};
use crate::records::RecordMeta;
use crate::scheduler::{LookSlot, Reachability, RecordChanges};
use error::ReconcileError;
pub(crate) use error::chain_with_hint;
pub(crate) use next_look::next_look;
use next_look::{inputs_of, only};
use reconciliation::Reconciliation;
use requeue::{Attempt, Failure, Inputs, Last, Unwritten};
use result::{Ended, record_result};
pub(crate) use status::is_ready;
use status_writer::StatusWriter;
use verdict::Verdict;
pub(crate) use waiting::{hold, wait};

mod backoff;
mod error;
mod execute;
mod next_look;
mod plan;
mod reconciliation;
mod request_time;
pub(crate) mod requeue;
mod resolve;
mod result;
mod status;
mod status_writer;
mod target;
mod verdict;
mod waiting;

/// Record to reconcile.
pub(crate) struct Job<'a> {
    pub(crate) name: &'a str,
    pub(crate) record: &'a RecordMeta,
    /// Permits a look that isn't just the confirmation of a verdict.
    pub(crate) permits_first: bool,
    pub(crate) slot: &'a LookSlot,
    /// Notices of changes of the record and its consumers.
    pub(crate) changes: RecordChanges,
}

/// End of a reconciliation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reconciled {
    /// The result is recorded.
    Done {
        reachability: Reachability,
        /// The status changed. Otherwise the sweep records the look.
        is_written: bool,
    },
    /// The record has no verdict, and the job permits no first look. No request was sent to the registry.
    NeedsFirstLook,
    /// The record is gone or replaced. The watch reports that.
    Gone,
    /// The API server didn't accept the result.
    Rejected {
        reachability: Reachability,
        /// The API server as a whole is affected, as far as the error tells.
        is_outage: bool,
    },
}

/// Reconciles a record, and remembers when it is due again.
pub(crate) async fn reconcile(context: &Context, job: Job<'_>) -> Reconciled {
    let record = match read(context, &job).await {
        Ok(record) => record,
        Err(ended) => return ended,
    };
    let consumers = context.demand.read(|demand| demand.consumers(&record.spec.source));
    if consumers.is_empty() && job.record.is_own {
        return Reconciled::Gone;
    }
    let platforms = context.platforms();
    let inputs = inputs_of(job.record, &consumers);
    let last = context.attempts.last(job.name, inputs.image, only(&platforms));
    // A request may be older than this process.
    let requests = Requests::of(&record.metadata).into_some();
    let is_retry = matches!(last, Last::Outdated);
    let (last, verdict) = match last {
        Last::Same(last) => (Some(last.clone()), last.verdict),
        Last::Outdated => (None, None),
        Last::None => {
            let status = record.status.as_ref().filter(|status| status.answered == requests);
            (None, status.and_then(|status| Verdict::recorded(status, only(&platforms))))
        }
    };
    let held_back = last.as_ref().and_then(|last| held_back(last, inputs));
    let verdict = match held_back {
        Some(_) => record.status.as_ref().and_then(Verdict::serving),
        None => verdict,
    };
    // A record whose variant a pod couldn't pull asks for a verification in full.
    let is_questioned = health::is_proof_due(record.status.as_ref(), Timestamp::now());
    let verdict = verdict.filter(|_| !is_questioned);
    if verdict.is_none() && !job.permits_first {
        if is_questioned {
            // The verdict doesn't count any more, so the next look is a first one.
            context.attempts.remove(job.name);
        }
        return Reconciled::NeedsFirstLook;
    }
    let started = Instant::now();
    let rejected = last.as_ref().and_then(|last| last.unwritten.as_ref());
    let (rejections, unwritten) = rejected.map_or((0, None), |last| (last.count, last.status.as_deref()));
    let mut writer = StatusWriter::new(&context.client, &context.api_clock, &record, unwritten);
    if let (Some(_), Some(last)) = (unwritten, &last) {
        // The result is known: the registry isn't asked again because the API server rejected it.
        let attempt = Attempt { unwritten: None, ..(**last).clone() };
        return conclude(context, &job, attempt, writer, rejections, Reachability::Unknown).await;
    }
    // The backoff begins again with other credentials.
    let failure = last.as_ref().filter(|last| last.inputs == inputs).and_then(|last| last.failure);
    let failures = failure.map_or(0, |failure| failure.count);
    let wanted = only(&platforms).map(<[Platform]>::to_vec);
    let reconciliation = Reconciliation {
        context,
        record: &record,
        consumers: &consumers,
        settings: context.settings(platforms),
        verdict,
        held_back,
        is_retry,
        accepts: accepted_settings(requests.as_ref(), record.status.as_ref()),
        slot: job.slot,
        changes: &job.changes,
    };
    let result = reconciliation.run(&mut writer).await;
    if matches!(result.0, Err(ReconcileError::Conversion(ConversionError::Abandoned))) {
        return abandon(context, &job, writer).await;
    }
    let recorded = record_result(&reconciliation, &mut writer, result, failures).await;
    let looked_at = writer.looked_at().unwrap_or(started);
    let is_immutable = writer.status().source.as_ref().is_some_and(|source| source.immutable);
    let confirmation = writer.confirmation().or_else(|| last.and_then(|last| last.confirmation));
    let settled = writer.status().platforms.clone();
    let is_serving = status::is_ready(writer.status());
    let attempt = |failure, verdict: Option<Verdict>, is_recovered: bool| Attempt {
        inputs,
        platforms: verdict.as_ref().map_or(wanted, |_| settled).map(Arc::from),
        registry: Arc::clone(job.slot.registry()),
        confirmation: confirmation.clone(),
        looked_at,
        is_immutable,
        is_unhealthy: !is_recovered && health::is_unhealthy(record.status.as_ref()),
        is_serving,
        failure,
        verdict,
        unwritten: None,
    };
    match recorded {
        Ok(Ended { failure, verdict, reachability }) => {
            let is_recovered = failure.is_none()
                && health::is_recovered(record.status.as_ref(), writer.status(), Timestamp::now());
            let attempt = attempt(failure, verdict, is_recovered);
            let reconciled = conclude(context, &job, attempt, writer, rejections, reachability).await;
            if is_recovered && let Err(error) = recover(context, &record).await {
                // The next routine look verifies the variant again.
                let error = zstart_core::chain(&error);
                warn!(record = job.name, error, "failed to note that a record has recovered");
            }
            reconciled
        }
        Err(error) => {
            let attempt = attempt(failure, reconciliation.last_verdict(), false);
            reject(context, &job, attempt, None, rejections, Reachability::Answered, &error)
        }
    }
}

/// Reads the record.
async fn read(context: &Context, job: &Job<'_>) -> Result<ImageConversion, Reconciled> {
    let records = Api::<ImageConversion>::all(context.client.clone());
    match records.get_opt(job.name).await {
        Ok(Some(record)) if record.uid().as_deref() == Some(&*job.record.uid) => Ok(record),
        Ok(_) => Err(Reconciled::Gone),
        Err(error) => {
            warn!(record = job.name, error = zstart_core::chain(&error), "failed to read a record");
            if !is_outage(&error) {
                postpone(context, job);
            }
            Err(Reconciled::Rejected { reachability: Reachability::Unknown, is_outage: is_outage(&error) })
        }
    }
}

/// Postpones the next look at a record that can't be read.
fn postpone(context: &Context, job: &Job<'_>) {
    let (inputs, platforms) = (inputs_of(job.record, &[]), context.platforms());
    let rejections = match context.attempts.last(job.name, inputs.image, only(&platforms)) {
        Last::Same(last) => last.unwritten.map_or(0, |unwritten| unwritten.count),
        Last::None | Last::Outdated => 0,
    };
    let attempt = Attempt {
        platforms: only(&platforms).map(Arc::from),
        unwritten: Some(Unwritten::after(rejections, None)),
        ..Attempt::unknown(inputs, Arc::clone(job.slot.registry()), Instant::now())
    };
    context.attempts.insert(job.name, attempt);
}

/// Returns the failure to add a platform whose next attempt isn't due. Until then, looks only confirm the variant that
/// serves.
fn held_back(last: &Attempt, inputs: Inputs) -> Option<Failure> {
    let is_held_back = last.is_serving && last.verdict.is_none() && last.inputs == inputs;
    last.failure.filter(|failure| is_held_back && failure.retry_at > Instant::now())
}

/// Ends a reconciliation whose conversion was stopped, because no workload uses the source any more. A variant that
/// serves goes on serving, and the next consumer gets a look at once.
async fn abandon(context: &Context, job: &Job<'_>, mut writer: StatusWriter<'_>) -> Reconciled {
    context.attempts.remove(job.name);
    writer.set_waiting(RecordReason::Pending, "stopped the conversion, because no workload uses the source");
    if let Err(error) = writer.write().await {
        // The record may be gone.
        debug!(record = job.name, error = zstart_core::chain(&error), "failed to note a stopped conversion");
    }
    Reconciled::Gone
}

/// Writes the status and remembers the attempt.
async fn conclude(
    context: &Context,
    job: &Job<'_>,
    attempt: Attempt,
    mut writer: StatusWriter<'_>,
    rejections: u32,
    reachability: Reachability,
) -> Reconciled {
    match writer.write().await {
        Ok(is_written) => {
            context.attempts.insert(job.name, attempt);
            Reconciled::Done { reachability, is_written }
        }
        Err(error) => {
            let status = Some(Box::new(writer.status().clone()));
            reject(context, job, attempt, status, rejections, reachability, &error)
        }
    }
}

/// Remembers an attempt that the API server rejected.
fn reject(
    context: &Context,
    job: &Job<'_>,
    attempt: Attempt,
    status: Option<Box<ImageConversionStatus>>,
    rejections: u32,
    reachability: Reachability,
    error: &kube::Error,
) -> Reconciled {
    let text = zstart_core::chain(error);
    let unwritten = Unwritten::after(rejections, status);
    let delay = backoff::api_retry_delay(unwritten.count);
    warn!(record = job.name, error = text, ?delay, "failed to write the status of a record");
    context.attempts.insert(job.name, Attempt { unwritten: Some(unwritten), ..attempt });
    Reconciled::Rejected { reachability, is_outage: is_outage(error) }
}

/// Returns whether an error says that the API server as a whole can't serve: others than those about one object.
pub(crate) fn is_outage(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => !matches!(status.code, 400 | 404 | 409 | 413 | 422),
        kube::Error::SerdeError(_) => false,
        _ => true,
    }
}

/// Returns the variants that suffice: any, unless a user has asked for one of the current settings.
fn accepted_settings(
    requests: Option<&Requests>,
    status: Option<&ImageConversionStatus>,
) -> AcceptedSettings {
    let reconvert = |requests: &Requests| requests.reconvert.clone();
    let requested = requests.and_then(reconvert);
    let answered = status.and_then(|status| status.answered.as_ref()).and_then(reconvert);
    if requested.is_some() && requested != answered {
        AcceptedSettings::Current
    } else {
        AcceptedSettings::Any
    }
}

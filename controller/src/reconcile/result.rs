//! Records how a reconciliation ended: in the status, the events, the metrics and the log.

use std::time::Instant;

use kube::ResourceExt as _;
use kube::runtime::events::EventType;
use tracing::{info, warn};
use zstart_convert::ErrorClass;
use zstart_core::record::RecordReason;
use zstart_core::units;

use super::backoff;
use super::error::ReconcileError;
use super::reconciliation::{Outcome, Reconciliation};
use super::requeue::{Failure, LastVerified, VerifiedTag};
use super::status::VerifiedVariant;
use super::status_writer::StatusWriter;

/// End of a reconciliation.
pub(super) struct Ended {
    /// Failure, if the reconciliation failed.
    pub(super) failure: Option<Failure>,
    /// Digests that the next reconciliation compares with.
    pub(super) last_verified: Option<LastVerified>,
}

/// Records the result. `failures` counts the earlier failures in a row.
pub(super) async fn record_result(
    reconciliation: &Reconciliation<'_>,
    writer: &mut StatusWriter<'_>,
    result: Result<Outcome, ReconcileError>,
    failures: u32,
) -> kube::Result<Ended> {
    match result {
        Ok(outcome) => {
            let last_verified = record_outcome(reconciliation, writer, outcome).await;
            Ok(Ended { failure: None, last_verified: Some(last_verified) })
        }
        // The status can't be written, so it can't report the error either.
        Err(ReconcileError::Status(error)) => Err(error),
        Err(error) => Ok(record_error(reconciliation, writer, &error, failures.saturating_add(1)).await),
    }
}

async fn record_outcome(
    reconciliation: &Reconciliation<'_>,
    writer: &mut StatusWriter<'_>,
    outcome: Outcome,
) -> LastVerified {
    let metrics = &reconciliation.context.metrics;
    match outcome {
        Outcome::Unchanged(last_verified) => {
            writer.set_unchanged();
            let has_variant = last_verified.variant.is_some();
            metrics.count_attempt(if has_variant {
                RecordReason::Verified
            } else {
                RecordReason::AlreadyZstd
            });
            last_verified
        }
        Outcome::AlreadyZstd(source) => {
            writer.set_already_zstd();
            metrics.count_attempt(RecordReason::AlreadyZstd);
            LastVerified { source, variant: None }
        }
        Outcome::Ready(variant) => {
            writer.set_ready(&variant);
            metrics.count_attempt(RecordReason::Verified);
            announce(reconciliation, &variant).await;
            let tag = VerifiedTag { digest: variant.image.digest.clone(), checked_at: Instant::now() };
            LastVerified { source: variant.source.clone(), variant: Some(tag) }
        }
    }
}

/// Logs and publishes a variant that the record didn't have yet.
async fn announce(reconciliation: &Reconciliation<'_>, variant: &VerifiedVariant) {
    let record = reconciliation.record;
    let (source, reference) = (&record.spec.source, &variant.reference);
    let recorded = record.status.as_ref().and_then(|status| status.variant.as_ref());
    if recorded.is_some_and(|recorded| recorded.reference == *reference) {
        return;
    }
    let (before, after) = (variant.image.source_bytes(), variant.image.variant_bytes());
    let note = format!(
        "{source} has the variant {reference}: {} instead of {} to pull ({} less)",
        units::size(after),
        units::size(before),
        units::saving(before, after),
    );
    info!(%source, variant = %reference, before, after, "a variant is ready");
    reconciliation.publish(EventType::Normal, RecordReason::Converted, &note).await;
}

/// `failures` counts this failure too.
async fn record_error(
    reconciliation: &Reconciliation<'_>,
    writer: &mut StatusWriter<'_>,
    error: &ReconcileError,
    failures: u32,
) -> Ended {
    let Reconciliation { context, record, .. } = reconciliation;
    let delay = backoff::retry_delay(error.class(), failures, context.config.recheck_interval);
    // Never sooner than a registry's Retry-After.
    let delay = delay + backoff::jitter(delay, &record.name_any());
    let (source, reason, text) = (&record.spec.source, error.reason(), error.to_string());
    warn!(%source, reason = reason.as_str(), error = text, ?delay, "failed to reconcile a source");
    context.metrics.count_attempt(reason);
    writer.set_failed(error);
    let note = format!("{source}: {text}");
    reconciliation.publish(EventType::Warning, reason, &note).await;
    // A variant that stays ready is compared again as soon as the registry answers.
    let is_rate_limited = matches!(error.class(), ErrorClass::RateLimited { .. });
    let failure = Failure { count: failures, retry_at: Instant::now() + delay, is_rate_limited };
    Ended { failure: Some(failure), last_verified: reconciliation.last_verified.clone() }
}

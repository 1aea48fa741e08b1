//! Records how a reconciliation ended: in the status, the events, the metrics and the log.

use std::time::Instant;

use kube::ResourceExt as _;
use kube::runtime::events::EventType;
use tracing::{info, warn};
use zstart_core::record::RecordReason;
use zstart_core::units;

use super::backoff;
use super::error::ReconcileError;
use super::reconciliation::{Outcome, Reconciliation};
use super::requeue::Failure;
use super::status::VerifiedVariant;
use super::status_writer::StatusWriter;
use super::verdict::{Verdict, VerdictKind, VerifiedTag};
use crate::credentials::Audience;
use crate::scheduler::Reachability;

/// End of a reconciliation.
pub(super) struct Ended {
    /// Failure, if the reconciliation failed.
    pub(super) failure: Option<Failure>,
    /// Verdict that the next reconciliation confirms.
    pub(super) verdict: Option<Verdict>,
    /// Evidence about the registry.
    pub(super) reachability: Reachability,
}

/// Records the result. `failures` counts the earlier failures in a row.
pub(super) async fn record_result(
    reconciliation: &Reconciliation<'_>,
    writer: &mut StatusWriter<'_>,
    (result, audience): (Result<Outcome, ReconcileError>, Audience),
    failures: u32,
) -> kube::Result<Ended> {
    match result {
        // The variant serves on, and still lacks what failed.
        Ok(Outcome::Unchanged(_)) if reconciliation.held_back.is_some() => Ok(Ended {
            failure: reconciliation.held_back,
            verdict: None,
            reachability: Reachability::Answered,
        }),
        Ok(outcome) => {
            let verdict = record_outcome(reconciliation, writer, outcome, &audience).await;
            Ok(Ended { failure: None, verdict: Some(verdict), reachability: Reachability::Answered })
        }
        // The status can't be written, so it can't report the error either.
        Err(ReconcileError::Status(error)) => Err(error),
        Err(error) => {
            let failures = failures.saturating_add(1);
            Ok(record_error(reconciliation, writer, &error, failures, &audience).await)
        }
    }
}

async fn record_outcome(
    reconciliation: &Reconciliation<'_>,
    writer: &mut StatusWriter<'_>,
    outcome: Outcome,
    audience: &Audience,
) -> Verdict {
    let verdict = match outcome {
        Outcome::Unchanged(verdict) => {
            if matches!(verdict.kind, VerdictKind::Variant(_)) {
                writer.set_unchanged();
            }
            verdict
        }
        Outcome::AlreadyZstd(source) => {
            writer.set_already_zstd();
            writer.set_answered(reconciliation.platforms());
            Verdict { source, kind: VerdictKind::AlreadyZstd }
        }
        Outcome::Ready { variant, tag } => {
            writer.set_ready(&variant);
            writer.set_answered(reconciliation.platforms());
            announce(reconciliation, &variant, audience).await;
            let checked_at = Some(Instant::now());
            let tag = VerifiedTag { tag, digest: variant.image.digest.clone(), checked_at };
            Verdict { source: variant.source.clone(), kind: VerdictKind::Variant(tag) }
        }
    };
    reconciliation.context.metrics.count_attempt(verdict.reason());
    verdict
}

/// Logs and publishes a variant that the record didn't have yet.
async fn announce(reconciliation: &Reconciliation<'_>, variant: &VerifiedVariant, audience: &Audience) {
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
    reconciliation.publish(EventType::Normal, RecordReason::Converted, &note, audience).await;
}

/// `failures` counts this failure too.
async fn record_error(
    reconciliation: &Reconciliation<'_>,
    writer: &mut StatusWriter<'_>,
    error: &ReconcileError,
    failures: u32,
    audience: &Audience,
) -> Ended {
    let Reconciliation { context, record, .. } = reconciliation;
    let (source, reason, text) = (&record.spec.source, error.reason(), error.to_string());
    context.metrics.count_attempt(reason);
    let is_reported = writer.reported(reason);
    writer.set_failed(error);
    let verdict = refusal(writer, error);
    let failure = if verdict.is_some() {
        writer.set_answered(reconciliation.platforms());
        warn!(%source, reason = reason.as_str(), error = text, "leaving a source alone until it changes");
        None
    } else {
        let delay = backoff::retry_delay(error.class(), failures, context.config.recheck_interval);
        // Never sooner than a registry's Retry-After.
        let delay = delay + backoff::jitter(delay, &record.name_any());
        warn!(%source, reason = reason.as_str(), error = text, ?delay, "failed to reconcile a source");
        Some(Failure { reason, count: failures, retry_at: Instant::now() + delay })
    };
    if !is_reported {
        let note = format!("{source}: {text}");
        reconciliation.publish(EventType::Warning, reason, &note, audience).await;
    }
    // A variant that stays ready is compared again as soon as the registry answers.
    let verdict = verdict.or_else(|| reconciliation.last_verdict());
    Ended { failure, verdict, reachability: error.reachability() }
}

/// The verdict of an error that stays the same while the source's digest does.
fn refusal(writer: &StatusWriter<'_>, error: &ReconcileError) -> Option<Verdict> {
    let reason = error.reason();
    if !error.is_caused_by_content() || writer.looked_at().is_none() {
        return None;
    }
    let source = writer.status().source.as_ref()?.digest.clone();
    let verdict = Verdict { source, kind: VerdictKind::Refused(reason) };
    // Another variant of the source may serve on.
    verdict.is_shown(writer.status()).then_some(verdict)
}

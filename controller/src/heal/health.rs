//! Health of a record: its condition `Healthy`. Pure.
//!
//! The webhook points no pod at the variant of an unhealthy record. A reconciliation writes `Healthy` along with
//! `Ready` when a record gets its first variant ([`RecordReason::NoFailedPull`]). From the first failure on, the
//! condition belongs to the healer's own field manager, because a reconciliation that is under way would write an
//! older state back.
//!
//! - A pod that can't pull the variant makes the record unhealthy ([`RecordReason::PullFailed`]).
//! - That asks for a verification in full, by the annotation `zstart.dev/retry`. The record recovers when the variant is whole, or was made again.
//! - A variant that is whole for the controller and still fails for nodes makes the record unhealthy for an hour
//!   ([`RecordReason::PullsKeepFailing`]): pods would wait for their cure again and again. The evidence is a pod
//!   that was created after a recovery, failed, and then pulled the original. A pod of before the recovery may have
//!   failed before it too: pods of a workload fail together, and their failures arrive one after the other.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use zstart_core::record::{HEALTHY, ImageConversionStatus, RecordReason, condition};

/// Time from a recovery within which another failure is a relapse, and time for which a variant that keeps failing
/// isn't used.
const RELAPSE: SignedDuration = SignedDuration::from_hours(1);
/// Time from a recovery within which the record stays healthy. A pod without a pull secret must not cause one
/// verification after the other.
const GRACE: SignedDuration = SignedDuration::from_mins(1);

/// Returns whether a failed pull makes a record with this status unhealthy.
pub(crate) fn makes_unhealthy(status: &ImageConversionStatus, now: Timestamp) -> bool {
    match condition(status, HEALTHY) {
        None => true,
        Some(health) if health.status != "True" => false,
        Some(health) => health.reason == RecordReason::NoFailedPull.as_str() || age(health, now) >= GRACE,
    }
}

/// Returns whether a record with this status has recovered lately, and a pod that fails was created later than that,
/// so that its node failed to pull the recovered variant. The pod's time is of the API server's clock, the recovery's of
/// the controller's; both are compared in whole seconds.
pub(crate) fn is_relapse(status: &ImageConversionStatus, created: Option<Timestamp>, now: Timestamp) -> bool {
    let recovery = condition(status, HEALTHY)
        .filter(|health| health.status == "True" && health.reason != RecordReason::NoFailedPull.as_str());
    recovery.is_some_and(|health| {
        let since = health.last_transition_time.0.as_second();
        created.is_some_and(|created| created.as_second() > since) && age(health, now) < RELAPSE
    })
}

/// Returns whether a record with this status asks for a verification in full.
pub(crate) fn is_proof_due(status: Option<&ImageConversionStatus>, now: Timestamp) -> bool {
    let unhealthy = status.and_then(unhealthy);
    unhealthy.is_some_and(|health| !keeps_failing(health) || age(health, now) >= RELAPSE)
}

/// Returns whether a record with this status is unhealthy.
pub(crate) fn is_unhealthy(status: Option<&ImageConversionStatus>) -> bool {
    status.and_then(unhealthy).is_some()
}

/// Returns whether a record recovers that had the status `before` when its variant was verified in full or made
/// again, and has the status `after` now.
pub(crate) fn is_recovered(
    before: Option<&ImageConversionStatus>,
    after: &ImageConversionStatus,
    now: Timestamp,
) -> bool {
    let Some(before) = before.filter(|status| unhealthy(status).is_some()) else { return false };
    let reference =
        |status: &ImageConversionStatus| status.variant.as_ref().map(|variant| variant.reference.clone());
    let is_other = reference(after) != reference(before);
    after.variant.is_some() && (is_other || is_proof_due(Some(before), now))
}

/// Condition `Healthy` that replaces the one in `status`.
pub(crate) fn health(
    status: &ImageConversionStatus,
    is_healthy: bool,
    reason: RecordReason,
    message: String,
    now: Timestamp,
) -> Condition {
    let new_status = if is_healthy { "True" } else { "False" };
    // A new reason begins a new hour.
    let since = condition(status, HEALTHY)
        .filter(|health| health.status == new_status && health.reason == reason.as_str())
        .map_or(Time(now), |health| health.last_transition_time.clone());
    Condition {
        last_transition_time: since,
        message,
        observed_generation: status.observed_generation,
        reason: reason.as_str().to_owned(),
        status: new_status.to_owned(),
        type_: HEALTHY.to_owned(),
    }
}

/// Returns whether the record is unhealthy because its variant keeps failing.
pub(crate) fn is_kept_unhealthy(status: &ImageConversionStatus) -> bool {
    unhealthy(status).is_some_and(keeps_failing)
}

fn unhealthy(status: &ImageConversionStatus) -> Option<&Condition> {
    condition(status, HEALTHY).filter(|health| health.status == "False")
}

fn keeps_failing(health: &Condition) -> bool {
    health.reason == RecordReason::PullsKeepFailing.as_str()
}

fn age(health: &Condition, now: Timestamp) -> SignedDuration {
    now.duration_since(health.last_transition_time.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use zstart_core::Digest;

    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    fn status(health: Option<(bool, RecordReason, SignedDuration)>) -> ImageConversionStatus {
        let digest = Digest::sha256_of(b"source");
        let variant = Digest::sha256_of(b"variant");
        let mut status: ImageConversionStatus = serde_json::from_value(json!({
            "variant": {
                "sourceDigest": digest, "settings": "", "platforms": [], "durationMilliseconds": 1,
                "reference": format!("r.example/app:v1-zstd-{}@{variant}", digest.short()),
                "verifiedAt": "2026-01-01T00:00:00Z",
            },
        }))
        .unwrap();
        if let Some((is_healthy, reason, age)) = health {
            let before = ImageConversionStatus::default();
            status.conditions.push(super::health(&before, is_healthy, reason, String::new(), now() - age));
        }
        status
    }

    const SECOND: SignedDuration = SignedDuration::from_secs(1);
    const FAILED: RecordReason = RecordReason::PullFailed;
    const KEEPS: RecordReason = RecordReason::PullsKeepFailing;
    const VERIFIED: RecordReason = RecordReason::Verified;

    #[test]
    fn failed_pull_makes_a_healthy_record_unhealthy() {
        for (health, expected) in [
            (None, true),
            (Some((true, RecordReason::NoFailedPull, SignedDuration::ZERO)), true),
            (Some((true, VERIFIED, RELAPSE)), true),
            (Some((true, VERIFIED, GRACE)), true),
            (Some((true, VERIFIED, SECOND)), false),
            (Some((false, FAILED, SECOND)), false),
            (Some((false, KEEPS, SECOND)), false),
        ] {
            assert_eq!(makes_unhealthy(&status(health), now()), expected, "{health:?}");
        }
    }

    #[test]
    fn relapse_is_the_failure_of_a_pod_created_after_recovery() {
        let recovered = |age| Some((true, VERIFIED, age));
        for (health, created, expected) in [
            (recovered(GRACE), Some(now() - SECOND), true),
            (recovered(GRACE), Some(now() - GRACE + SECOND), true),
            (recovered(GRACE), Some(now() - GRACE), false),
            (recovered(GRACE), Some(now() - GRACE - SECOND), false),
            (recovered(GRACE), None, false),
            (recovered(RELAPSE), Some(now()), false),
            (Some((true, RecordReason::NoFailedPull, GRACE)), Some(now()), false),
            (Some((false, FAILED, GRACE)), Some(now()), false),
            (None, Some(now()), false),
        ] {
            assert_eq!(is_relapse(&status(health), created, now()), expected, "{health:?} {created:?}");
        }
    }

    #[test]
    fn unhealthy_record_is_verified_and_a_relapsed_one_later() {
        for (health, is_due) in [
            (None, false),
            (Some((true, VERIFIED, SECOND)), false),
            (Some((false, FAILED, SignedDuration::ZERO)), true),
            (Some((false, KEEPS, RELAPSE - SECOND)), false),
            (Some((false, KEEPS, RELAPSE)), true),
        ] {
            assert_eq!(is_proof_due(Some(&status(health)), now()), is_due, "{health:?}");
        }
        assert!(!is_proof_due(None, now()));
    }

    #[test]
    fn record_recovers_when_its_variant_is_proven_or_replaced() {
        let (failed, keeps) = (status(Some((false, FAILED, SECOND))), status(Some((false, KEEPS, SECOND))));
        assert!(is_recovered(Some(&failed), &failed, now()));
        assert!(!is_recovered(Some(&keeps), &keeps, now()), "the variant was whole before");
        let mut other = keeps.clone();
        other.variant.as_mut().unwrap().reference = "r.example/app:v1-zstd-0123456789ab".parse().unwrap();
        assert!(is_recovered(Some(&keeps), &other, now()));
        let gone = ImageConversionStatus { variant: None, ..failed.clone() };
        assert!(!is_recovered(Some(&failed), &gone, now()));
        assert!(!is_recovered(Some(&status(None)), &other, now()));
    }

    #[test]
    fn time_of_the_condition_changes_with_status_or_reason() {
        let before = status(Some((false, FAILED, RELAPSE)));
        let again = health(&before, false, FAILED, "again".to_owned(), now());
        assert_eq!(again.last_transition_time.0, now() - RELAPSE);
        let keeps = health(&before, false, KEEPS, String::new(), now());
        assert_eq!(keeps.last_transition_time.0, now());
        assert_eq!(health(&before, true, VERIFIED, String::new(), now()).last_transition_time.0, now());
    }
}

//! State of a record, as the webhook would use it now.

use anstyle::Style;
use jiff::Timestamp;
use kube::core::DeserializeGuard;
use serde::Serialize;
use strum::{IntoStaticStr, VariantArray};
use zstart_core::ImageConversion;
use zstart_core::eligibility::Reason;
use zstart_core::eligibility::record_view::{Freshness, RecordView, VariantPolicy};
use zstart_core::record::{HEALTHY, READY, RecordReason, condition};
use zstart_core::sweep::Confirmations;

use crate::style::{BAD, GOOD, ODD, PLAIN};

/// State of a record. Each record has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, Serialize, VariantArray)]
#[serde(rename_all = "camelCase")]
#[strum(serialize_all = "lowercase")]
pub(super) enum State {
    /// New pods start from the variant, where their nodes permit it.
    Ready,
    /// The source has zstd layers already, and pods run it.
    #[strum(serialize = "already zstd")]
    AlreadyZstd,
    /// The record waits for a look at the source, or for a conversion.
    Waiting,
    /// The conversion is running.
    Converting,
    /// zstart leaves the image alone.
    #[strum(serialize = "not convertible")]
    NotConvertible,
    /// A setting of the webhook excludes the variant: `minSize`, `minGain` or `allowedTargets`.
    Excluded,
    /// A look or a conversion failed, and is tried again.
    Failed,
    /// The registry confirmed the source longer ago than the webhook trusts it.
    Stale,
    /// A pod couldn't pull the variant.
    Unhealthy,
    /// This program can't read the record, which another version of zstart wrote.
    Unreadable,
}

impl State {
    /// Every state, in the order of the report.
    pub(super) const ALL: &[Self] = Self::VARIANTS;

    /// Words of the report.
    pub(super) fn as_str(self) -> &'static str {
        self.into()
    }

    /// Style of the words.
    pub(super) fn style(self) -> Style {
        match self {
            Self::Ready => GOOD,
            Self::Failed | Self::Unhealthy | Self::Unreadable => BAD,
            Self::Stale => ODD,
            _ => PLAIN,
        }
    }

    /// Returns whether a person may have something to do.
    pub(super) fn needs_attention(self) -> bool {
        matches!(self, Self::Failed | Self::Stale | Self::Unhealthy | Self::Unreadable)
    }
}

/// Settings and data that decide about all records.
pub(super) struct Judge<'a> {
    pub(super) policy: &'a VariantPolicy,
    pub(super) confirmations: &'a Confirmations,
    pub(super) now: Timestamp,
}

/// Record with its state.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JudgedRecord {
    pub(super) state: State,
    /// Name of the record.
    pub(super) record: String,
    /// `None` if the record can't be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<String>,
    /// Reason of the condition that decides; `RecordStale` for a stale record. Empty before the first look.
    pub(super) reason: String,
    /// Message of the condition that decides.
    pub(super) message: String,
    /// Time since which the condition has its status; for a stale record, the time of the last confirmation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<Timestamp>,
}

impl Judge<'_> {
    pub(super) fn judge(&self, DeserializeGuard(record): DeserializeGuard<ImageConversion>) -> JudgedRecord {
        let record = match record {
            Ok(record) => record,
            Err(invalid) => {
                return JudgedRecord {
                    state: State::Unreadable,
                    record: invalid.metadata.name.unwrap_or_default(),
                    source: None,
                    reason: String::new(),
                    message: invalid.error,
                    since: None,
                };
            }
        };
        let of = |type_| condition(record.status.as_ref()?, type_).cloned();
        let (ready, healthy) = (of(READY), of(HEALTHY));
        let (name, source) =
            (record.metadata.name.clone().unwrap_or_default(), record.spec.source.to_string());
        let (state, confirmed) = self.state(record, ready.as_ref().map(|ready| ready.reason.as_str()));
        let decisive = if state == State::Unhealthy { healthy } else { ready };
        let (mut reason, mut message, mut since) = decisive.map_or_else(Default::default, |found| {
            (found.reason, found.message, Some(found.last_transition_time.0))
        });
        if let (State::Stale, Some(confirmed)) = (state, confirmed) {
            message = format!(
                "the registry confirmed the source last at {confirmed}; zstart retry {source} asks for a look now"
            );
            since = Some(confirmed);
            Reason::RecordStale.as_str().clone_into(&mut reason);
        }
        JudgedRecord { state, record: name, source: Some(source), reason, message, since }
    }

    /// Returns the state, and the time of the last confirmation if the record is ready.
    fn state(&self, record: ImageConversion, ready: Option<&str>) -> (State, Option<Timestamp>) {
        let is = |reason: RecordReason| ready == Some(reason.as_str());
        // A pod's template and pull policy don't count for the record as such.
        let freshness = Freshness { template_time: None, pulled_always: false };
        let view = RecordView::from(record);
        let state = match view.variant(self.policy, freshness, self.confirmations, self.now) {
            Ok(_) => State::Ready,
            Err(Reason::RecordStale) => State::Stale,
            Err(Reason::RecordUnhealthy) => State::Unhealthy,
            Err(Reason::TargetNotAllowed | Reason::TooSmall | Reason::GainTooSmall) => State::Excluded,
            Err(Reason::RecordNotReady) if is(RecordReason::AlreadyZstd) => State::AlreadyZstd,
            Err(Reason::RecordNotReady) => State::NotConvertible,
            Err(Reason::RecordConverting | Reason::SourceMoved) if is(RecordReason::Converting) => {
                State::Converting
            }
            Err(Reason::RecordConverting | Reason::SourceMoved) => State::Waiting,
            Err(_) => State::Failed,
        };
        (state, view.checked_at(self.confirmations))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::ToSpan as _;
    use serde_json::{Value, json};
    use zstart_core::Digest;
    use zstart_core::sweep::ConfirmationKey;

    use super::*;

    const NOW: &str = "2026-11-28T12:00:00Z";

    fn record(ready: (&str, &str), checked_at: &str) -> Value {
        let digest = Digest::sha256_of(b"app");
        let condition = |type_: &str, status: &str, reason: &str| {
            json!({"type": type_, "status": status, "reason": reason, "message": "why",
                "lastTransitionTime": "2026-11-28T11:00:00Z"})
        };
        json!({
            "apiVersion": "zstart.dev/v1alpha1", "kind": "ImageConversion", "metadata": {"name": "app-v1"},
            "spec": {"source": "r.example/app:v1"},
            "status": {
                "source": {"digest": digest, "checkedAt": checked_at},
                "variant": {
                    "sourceDigest": digest, "settings": "",
                    "reference": format!("r.example/app:v1-zstd-1@{digest}"),
                    "platforms": [{"platform": "linux/amd64", "sourceBytes": 100, "variantBytes": 80, "layers": 1,
                        "convertedLayers": 1}],
                    "verifiedAt": checked_at, "durationMilliseconds": 1,
                },
                "conditions": [condition("Ready", ready.0, ready.1)],
            },
        })
    }

    fn judged(record: Value, confirmations: &Confirmations) -> JudgedRecord {
        let policy = VariantPolicy {
            max_staleness: Duration::from_mins(15),
            min_gain: 10.0,
            ..VariantPolicy::default()
        };
        let judge = Judge { policy: &policy, confirmations, now: NOW.parse().unwrap() };
        judge.judge(serde_json::from_value(record).unwrap())
    }

    #[test]
    fn state_follows_from_the_record_as_for_the_webhook() {
        let fresh = "2026-11-28T11:59:00Z";
        for (ready, expected) in [
            (("True", "Verified"), State::Ready),
            (("False", "AlreadyZstd"), State::AlreadyZstd),
            (("False", "NotConvertible"), State::NotConvertible),
            (("False", "Pending"), State::Waiting),
            (("False", "Converting"), State::Converting),
            (("False", "SourceMoved"), State::Waiting),
            (("False", "PushDenied"), State::Failed),
            (("False", "RateLimited"), State::Failed),
            (("False", "ReasonOfALaterVersion"), State::Failed),
        ] {
            let found = judged(record(ready, fresh), &Confirmations::default());
            assert_eq!((found.state, found.reason.as_str()), (expected, ready.1));
        }
        let mut new = record(("True", "Verified"), fresh);
        new.as_object_mut().unwrap().remove("status");
        assert_eq!(judged(new, &Confirmations::default()).state, State::Waiting);
        let mut large = record(("True", "Verified"), fresh);
        large["status"]["variant"]["platforms"][0]["variantBytes"] = json!(95);
        assert_eq!(judged(large, &Confirmations::default()).state, State::Excluded);
    }

    #[test]
    fn stale_record_names_its_last_confirmation() {
        let old = record(("True", "Verified"), "2026-11-28T11:00:00Z");
        let found = judged(old.clone(), &Confirmations::default());
        assert_eq!(found.state, State::Stale);
        assert!(found.message.contains("last at 2026-11-28T11:00:00Z"), "{}", found.message);

        let mut swept = Confirmations::default();
        let key = ConfirmationKey::new("app-v1", &Digest::sha256_of(b"app"));
        let now: Timestamp = NOW.parse().unwrap();
        swept.insert(key, now - 1.minute());
        assert_eq!(judged(old.clone(), &swept).state, State::Ready);
        swept.insert(key, now - 16.minutes());
        let found = judged(old, &swept);
        assert_eq!((found.state, found.since), (State::Stale, Some(now - 16.minutes())));
    }

    #[test]
    fn unhealthy_and_unreadable_records_tell_why() {
        let mut unhealthy = record(("True", "Verified"), NOW);
        unhealthy["status"]["conditions"].as_array_mut().unwrap().push(json!({"type": "Healthy",
            "status": "False", "reason": "PullFailed", "message": "not found", "lastTransitionTime": NOW}));
        let found = judged(unhealthy, &Confirmations::default());
        assert_eq!(
            (found.state, found.reason.as_str(), found.message.as_str()),
            (State::Unhealthy, "PullFailed", "not found")
        );
        let mut unreadable = record(("True", "Verified"), NOW);
        unreadable["spec"] = json!({"source": 7});
        let found = judged(unreadable, &Confirmations::default());
        assert_eq!((found.state, found.source), (State::Unreadable, None));
        assert!(!found.message.is_empty());
    }
}

//! Cause that the record of an image tells. The webhook keeps the reason alone in its memory.

use serde::Serialize;
use zstart_core::eligibility::Reason;
use zstart_core::record::{HEALTHY, READY, RESOLVED, condition};
use zstart_core::{ImageConversion, Reference};

/// Condition of a record that speaks against its use.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Cause {
    /// Name of the record.
    record: String,
    /// Reason of the condition.
    reason: String,
    /// Message of the condition.
    message: String,
}

impl Cause {
    /// Returns the cause of a decision about an image of this source, if the record has it.
    pub(super) fn of(reason: Reason, source: &str, records: &[ImageConversion]) -> Option<Self> {
        let is_of_record = matches!(
            reason,
            Reason::RecordConverting
                | Reason::RecordFailed
                | Reason::RecordNotReady
                | Reason::RecordStale
                | Reason::RecordUnhealthy
                | Reason::SourceMoved
        );
        let source: Reference = source.parse().ok().filter(|_| is_of_record)?;
        let record = records.iter().find(|record| record.spec.source == source.identity())?;
        let status = record.status.as_ref()?;
        let conditions = [READY, HEALTHY, RESOLVED].into_iter().filter_map(|kind| condition(status, kind));
        let against = conditions.into_iter().find(|condition| condition.status != "True")?;
        Some(Self {
            record: record.metadata.name.clone()?,
            reason: against.reason.clone(),
            message: against.message.clone(),
        })
    }

    /// The cause as a line.
    pub(super) fn line(&self) -> String {
        let Self { record, reason, message } = self;
        format!("    {reason}: {message} (kubectl describe imgconv {record})")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(ready: &str, healthy: &str) -> ImageConversion {
        let condition = |kind: &str, status: &str, reason: &str| {
            json!({
                "type": kind, "status": status, "reason": reason, "message": "as told",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        };
        serde_json::from_value(json!({
            "apiVersion": "zstart.dev/v1alpha1", "kind": "ImageConversion", "metadata": {"name": "app-1"},
            "spec": {"source": "r.example/app:v1"},
            "status": {"conditions": [
                condition("Ready", ready, "SourceNotFound"), condition("Healthy", healthy, "PullFailed"),
            ]},
        }))
        .unwrap()
    }

    #[test]
    fn cause_is_the_condition_that_is_not_true() {
        let cause = |reason, source: &str, record| Cause::of(reason, source, &[record]);
        let told = |cause: Option<Cause>| cause.map(|cause| cause.reason);
        let app = "r.example/app:v1";
        let failed = cause(Reason::RecordFailed, app, record("False", "True"));
        let line = "    SourceNotFound: as told (kubectl describe imgconv app-1)";
        assert_eq!(failed.as_ref().map(Cause::line).as_deref(), Some(line));
        let unhealthy = cause(Reason::RecordUnhealthy, app, record("True", "False"));
        assert_eq!(told(unhealthy).as_deref(), Some("PullFailed"));
        for reason in
            [Reason::RecordConverting, Reason::RecordNotReady, Reason::RecordStale, Reason::SourceMoved]
        {
            assert_eq!(told(cause(reason, app, record("False", "True"))).as_deref(), Some("SourceNotFound"));
        }
        assert_eq!(
            cause(Reason::RecordFailed, app, record("True", "True")),
            None,
            "the record has recovered"
        );
        assert_eq!(cause(Reason::RecordFailed, "r.example/other:v1", record("False", "True")), None);
        assert_eq!(
            cause(Reason::NoCandidateNode, app, record("False", "True")),
            None,
            "not the record's fault"
        );
    }
}

//! Metrics before the first event.

use anyhow::Result;
use zstart_core::eligibility::Reason;
use zstart_core::record::RecordReason;
use zstart_tests::prometheus::programs::Programs;

/// A counter that appears with its first event has no increase for it, so an alert on it would miss the event.
#[tokio::test(flavor = "multi_thread")]
async fn every_reason_is_exported_before_its_first_event() -> Result<()> {
    let exported = Programs::start().await?.metrics().await?;
    let values = |metric: &str, label: &str| {
        let values = exported.labels(metric).and_then(|labels| labels.get(label)).cloned();
        values.unwrap_or_default()
    };
    let reasons: Vec<&str> = RecordReason::ALL.iter().map(|reason| reason.as_str()).collect();
    for metric in ["zstart_controller_records", "zstart_controller_attempts_total"] {
        let exported = values(metric, "reason");
        assert!(reasons.iter().all(|reason| exported.contains(*reason)), "{metric} has {exported:?}");
    }
    let exported = values("zstart_webhook_images_total", "reason");
    let reasons: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert!(reasons.iter().all(|reason| exported.contains(*reason)), "{exported:?}");
    Ok(())
}

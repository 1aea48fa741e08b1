//! Reference of the metrics, made of what both programs export.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Result, ensure};
use zstart_core::eligibility::Reason;
use zstart_core::record::RecordReason;

use crate::prometheus::exposition::{Exposition, Metric};

const INTRODUCTION: &str = "\
# Metrics

Every metric of both programs, generated from what they export by `make generate`. \
[Monitoring](monitoring.md) has the scrape configurations, the alerts and the dashboard; \
[The webhook's health](troubleshooting.md#the-webhooks-health) and \
[The controller's metrics](troubleshooting.md#the-controllers-metrics) say which metric answers which question. \
A histogram has the samples `_bucket`, `_sum` and `_count`.
";

/// The page of both programs' metrics.
pub(super) fn page(exported: &Exposition) -> Result<String> {
    let mut page = INTRODUCTION.to_owned();
    for program in ["Controller", "Webhook"] {
        let prefix = format!("zstart_{}_", program.to_lowercase());
        write!(page, "\n## {program}\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n")?;
        for metric in exported.metrics().filter(|metric| metric.name.starts_with(&prefix)) {
            let Metric { name, kind, help, .. } = &metric;
            ensure!(!help.is_empty() && !help.contains('|'), "{name} has the help text {help:?}");
            writeln!(page, "| `{name}` | {kind} | {} | {help} |", labels(&metric))?;
        }
    }
    Ok(page)
}

/// Labels of a metric with their values.
fn labels(metric: &Metric<'_>) -> String {
    let labels = metric.labels.iter().map(|(label, values)| format!("`{label}`: {}", described(values)));
    labels.collect::<Vec<_>>().join("; ")
}

/// Values of a label. A list that another page has is a link.
fn described(values: &BTreeSet<String>) -> String {
    let are = |words: BTreeSet<&str>| values.iter().map(String::as_str).eq(words);
    if are(Reason::ALL.iter().map(|reason| reason.as_str()).collect()) {
        return "every [reason](pods.md#reasons)".to_owned();
    }
    if are(RecordReason::ALL.iter().map(|reason| reason.as_str()).collect()) {
        return "every [reason of a record](troubleshooting.md#reasons-of-a-record)".to_owned();
    }
    values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_listed_by_program_with_their_values() {
        let mut text = "# HELP zstart_webhook_a Of a.\n# TYPE zstart_webhook_a counter\n\
                        zstart_webhook_a_total{x=\"2\",y=\"3\"} 0\nzstart_webhook_a_total{x=\"1\",y=\"3\"} 0\n\
                        # HELP zstart_controller_b Of b.\n# TYPE zstart_controller_b gauge\n"
            .to_owned();
        for reason in RecordReason::ALL {
            writeln!(text, "zstart_controller_b{{reason=\"{reason}\"}} 0").unwrap();
        }
        let page = page(&Exposition::parse(&text)).unwrap();
        let (controller, webhook) = page.split_once("\n## Webhook\n").unwrap();
        let row = "\n| `zstart_webhook_a_total` | counter | `x`: `1`, `2`; `y`: `3` | Of a |\n";
        assert!(webhook.ends_with(row), "{page}");
        let reasons = "`reason`: every [reason of a record](troubleshooting.md#reasons-of-a-record)";
        let row = format!("\n| `zstart_controller_b` | gauge | {reasons} | Of b |\n");
        assert!(controller.ends_with(&row), "{page}");
    }

    #[test]
    fn metric_without_a_help_text_is_an_error() {
        let error = page(&Exposition::parse("# TYPE zstart_webhook_a gauge\nzstart_webhook_a 1\n"));
        assert_eq!(error.unwrap_err().to_string(), "zstart_webhook_a has the help text \"\"");
    }
}

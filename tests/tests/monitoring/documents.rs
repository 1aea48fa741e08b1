//! The documents describe every metric and alert that exists, and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use zstart_tests::prometheus::alerts;
use zstart_tests::prometheus::programs::Programs;

fn document(name: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    std::fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))
}

/// Metrics in the first cells of a document's tables, with the names of their labels.
fn documented(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut metrics: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let cells = text.lines().filter_map(|line| line.strip_prefix("| `zstart_"));
    for cell in cells.filter_map(|row| row.split(" |").next()) {
        for name in format!("`zstart_{cell}").split('`').filter(|name| name.starts_with("zstart_")) {
            let (name, labels) = name.split_once('{').unwrap_or((name, ""));
            let labels = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
            metrics.entry(name.to_owned()).or_default().extend(labels);
        }
    }
    metrics
}

#[tokio::test(flavor = "multi_thread")]
async fn troubleshooting_lists_exported_metrics_and_labels() -> Result<()> {
    let exported = Programs::start().await?.metrics().await?;
    let documented = documented(&document("troubleshooting.md")?);
    let names: BTreeSet<String> = documented.keys().cloned().collect();
    assert_eq!(names, exported.documented_names(), "left: docs/troubleshooting.md, right: exported");
    for (name, labels) in documented {
        let samples = [name.clone(), format!("{name}_bucket")];
        let sample = samples.iter().find_map(|sample| exported.labels(sample)).context("no sample")?;
        let sample: BTreeSet<String> = sample.keys().filter(|label| *label != "le").cloned().collect();
        assert_eq!(labels, sample, "labels of {name}; left: docs/troubleshooting.md, right: exported");
    }
    Ok(())
}

#[test]
fn monitoring_has_a_section_for_each_alert() -> Result<()> {
    let text = document("monitoring.md")?;
    let sections: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| {
            line.strip_prefix("### `Zstart").map(|_| line.trim_start_matches("### ").trim_matches('`'))
        })
        .collect();
    let alerts = alerts()?;
    let names: BTreeSet<&str> = alerts.iter().filter_map(|alert| alert["alert"].as_str()).collect();
    assert_eq!(sections, names, "left: docs/monitoring.md, right: alerts.yaml");
    for alert in &alerts {
        let name = alert["alert"].as_str().unwrap_or_default();
        let section = text.split(&format!("### `{name}`\n\n")).nth(1).context("no section")?;
        let section = section.split("\n#").next().unwrap_or_default();
        assert!(section.contains("**Action:**"), "{name} has no action in docs/monitoring.md");
        let severity = alert["labels"]["severity"].as_str().unwrap_or_default();
        assert!(section.starts_with(&format!("*{severity}")), "{name} has severity {severity}");
    }
    Ok(())
}

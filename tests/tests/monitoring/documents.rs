//! The documents describe every alert that exists, and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use zstart_tests::prometheus::alerts;

fn document(name: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    std::fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))
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

#[test]
fn troubleshooting_lists_every_alert_with_its_severity() -> Result<()> {
    let text = document("troubleshooting.md")?;
    let listed: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("| [`")?.split_once("`](monitoring.md#")?;
            Some((name.to_owned(), rest.split(" | ").nth(1)?.to_owned()))
        })
        .collect();
    let alerts = alerts()?;
    let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let expected: BTreeMap<_, _> =
        alerts.iter().map(|alert| (word(&alert["alert"]), word(&alert["labels"]["severity"]))).collect();
    assert!(expected.len() > 20, "{expected:?}");
    assert_eq!(listed, expected, "left: docs/troubleshooting.md, right: alerts.yaml");
    Ok(())
}

//! The alerts' rules: `promtool` checks their form, and evaluates them on series of samples.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use zstart_tests::prometheus::{alerts, alerts_file, promtool};

use crate::cases::{FIRING, QUIET, Series};

fn series(series: &[Series]) -> Value {
    series.iter().map(|(series, values)| json!({"series": series, "values": values})).collect()
}

#[tokio::test]
async fn promtool_accepts_the_rules() -> Result<()> {
    let output = promtool(&["check", "rules", "--lint=all", "--lint-fatal"], &alerts_file()).await?;
    assert!(output.contains(&format!("SUCCESS: {} rules found", alerts()?.len())), "{output}");
    Ok(())
}

#[test]
fn alerts_have_a_severity_and_a_runbook() -> Result<()> {
    for alert in alerts()? {
        let name = alert["alert"].as_str().context("an alert has no name")?;
        let severity = alert["labels"]["severity"].as_str().unwrap_or_default();
        assert!(["info", "warning", "critical"].contains(&severity), "{name}: {severity:?}");
        let annotations = &alert["annotations"];
        let runbook = format!("docs/monitoring.md#{}", name.to_lowercase());
        assert!(annotations["runbook_url"].as_str().is_some_and(|url| url.ends_with(&runbook)), "{name}");
        for text in ["summary", "description"] {
            assert!(
                annotations[text].as_str().is_some_and(|text| text.ends_with('.')),
                "{name} has no {text}"
            );
        }
        // Tests take the description as it is.
        assert!(!annotations["description"].to_string().contains("{{"), "{name}");
    }
    Ok(())
}

#[test]
fn alerts_have_a_firing_and_a_quiet_case_each() -> Result<()> {
    for alert in alerts()? {
        let name = alert["alert"].as_str().unwrap_or_default();
        assert!(FIRING.iter().any(|case| case.alert == name), "{name} has no firing case");
        assert!(QUIET.iter().any(|case| case.alert == name), "{name} has no quiet case");
    }
    Ok(())
}

#[tokio::test]
async fn alerts_fire_when_they_should_and_only_then() -> Result<()> {
    let rules: BTreeMap<String, Value> = alerts()?
        .into_iter()
        .map(|alert| (alert["alert"].as_str().unwrap_or_default().to_owned(), alert))
        .collect();
    let mut tests = Vec::new();
    for case in FIRING {
        let rule = rules.get(case.alert).with_context(|| format!("no alert {}", case.alert))?;
        let mut labels = json!({"severity": rule["labels"]["severity"]});
        for (label, value) in case.labels {
            labels[label] = json!(value);
        }
        let mut annotations = rule["annotations"].clone();
        annotations["summary"] = json!(case.summary);
        let fired = json!([{"exp_labels": labels, "exp_annotations": annotations}]);
        let mut checks = vec![json!({"alertname": case.alert, "eval_time": case.at, "exp_alerts": fired})];
        if let Some(before) = case.not_at {
            checks.push(json!({"alertname": case.alert, "eval_time": before, "exp_alerts": []}));
        }
        tests.push(json!({"name": case.alert, "interval": "1m", "input_series": series(case.series),
            "alert_rule_test": checks}));
    }
    for case in QUIET {
        assert!(rules.contains_key(case.alert), "no alert {}", case.alert);
        let check = json!({"alertname": case.alert, "eval_time": case.at, "exp_alerts": []});
        tests.push(json!({"name": format!("{} stays quiet", case.alert), "interval": "1m",
            "input_series": series(case.series), "alert_rule_test": [check]}));
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("alerts.test.yaml");
    // JSON is YAML.
    let text = json!({"rule_files": [alerts_file()], "evaluation_interval": "1m", "tests": tests});
    std::fs::write(&file, serde_json::to_vec_pretty(&text)?)?;
    let output = promtool(&["test", "rules"], &file).await?;
    assert!(output.contains("SUCCESS"), "{output}");
    Ok(())
}

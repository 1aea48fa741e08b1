//! Metrics and labels that `PromQL` expressions read, by Prometheus' own parser (`tests/tools/prometheus/promql`).

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde::Deserialize;

use super::exposition::Exposition;
use crate::process::answer;
use crate::tools::{self, Tool};

/// Labels that a scrape adds to every sample of a target.
const TARGET_LABELS: [&str; 6] = ["namespace", "pod", "container", "service", "job", "instance"];

/// A vector selector of an expression.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Selector {
    /// Name of the metric, or `=~` and a pattern of names.
    pub metric: String,
    /// Matchers of labels.
    pub matchers: Vec<Matcher>,
    /// Labels that the aggregations and vector matchings around the selector name.
    pub labels: Vec<String>,
}

/// A label matcher.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Matcher {
    /// Name of the label.
    pub label: String,
    /// `=`, `!=`, `=~` or `!~`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Value, or pattern.
    pub value: String,
}

/// Parses expressions. Returns the selectors of each.
pub async fn selectors(expressions: &[String]) -> Result<Vec<Vec<Selector>>> {
    let (program, input) = (tools::find(Tool::PromqlNames).await?, serde_json::to_vec(expressions)?);
    let output = tokio::task::spawn_blocking(move || answer(&program, &input)).await??;
    let selectors: Vec<Vec<Selector>> = serde_json::from_slice(&output)?;
    ensure!(selectors.len() == expressions.len(), "promql-names answered {} expressions", selectors.len());
    Ok(selectors)
}

/// Returns what an expression with these selectors names that the programs don't export: a metric, a label, or a label's
/// value.
pub fn unknown_names(selectors: &[Selector], exported: &Exposition) -> Vec<String> {
    let metrics = |selector: &Selector| -> Vec<String> {
        let names = selector.metric.strip_prefix("=~").unwrap_or(&selector.metric);
        names.split('|').map(str::to_owned).collect()
    };
    let unknown = |selector| {
        let metrics = metrics(selector);
        metrics.into_iter().flat_map(|metric| unknown_names_of(&metric, selector, exported))
    };
    selectors.iter().flat_map(unknown).collect()
}

fn unknown_names_of(metric: &str, selector: &Selector, exported: &Exposition) -> Vec<String> {
    let Some(labels) = exported.labels(metric) else { return vec![format!("metric {metric}")] };
    let is_known = |label: &str| TARGET_LABELS.contains(&label) || labels.contains_key(label);
    let matched = selector.matchers.iter().map(|matcher| &matcher.label);
    let named: BTreeSet<&String> = selector.labels.iter().chain(matched).collect();
    let mut unknown: Vec<String> = named
        .into_iter()
        .filter(|label| !is_known(label))
        .map(|label| format!("label {label} of {metric}"))
        .collect();
    for Matcher { label, kind, value } in &selector.matchers {
        let Some(values) = labels.get(label.as_str()) else { continue };
        let words = if kind.ends_with('~') { value.split('|').collect() } else { vec![value.as_str()] };
        let words = words.into_iter().filter(|word| !values.contains(*word));
        unknown.extend(words.map(|word| format!("value {word:?} of label {label} of {metric}")));
    }
    unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(metric: &str, label: &str, kind: &str, value: &str) -> Selector {
        let matcher = Matcher { label: label.into(), kind: kind.into(), value: value.into() };
        Selector { metric: metric.into(), matchers: vec![matcher], labels: vec![] }
    }

    #[test]
    fn unknown_metric_label_and_value_are_named() {
        let exported = Exposition::parse("a_total{reason=\"X\"} 1\na_total{reason=\"Y\"} 0\n");
        let unknown = |selector: &Selector| unknown_names(std::slice::from_ref(selector), &exported);
        assert_eq!(unknown(&selector("a_total", "reason", "=~", "X|Y")), [""; 0]);
        assert_eq!(unknown(&selector("a_total", "namespace", "=", "any")), [""; 0]);
        assert_eq!(unknown(&selector("a", "reason", "=", "X")), ["metric a"]);
        assert_eq!(unknown(&selector("=~a_total|b", "reason", "=", "X")), ["metric b"]);
        assert_eq!(unknown(&selector("a_total", "cause", "=", "X")), ["label cause of a_total"]);
        assert_eq!(
            unknown(&selector("a_total", "reason", "!~", "X|Z")),
            ["value \"Z\" of label reason of a_total"]
        );
        let mut grouped = selector("a_total", "reason", "=", "X");
        grouped.labels = vec!["kind".into(), "pod".into()];
        assert_eq!(unknown(&grouped), ["label kind of a_total"]);
    }
}

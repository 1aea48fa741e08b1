//! The chart's dashboard.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::chart::chart;

/// Reads the dashboard.
pub fn dashboard() -> Result<Value> {
    let file = chart().join("files/dashboard.json");
    let text = std::fs::read_to_string(&file)?;
    serde_json::from_str(&text).with_context(|| format!("failed to parse {}", file.display()))
}

/// Panels of a dashboard that aren't rows.
pub fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["panels"].as_array().into_iter().flatten().filter(|panel| panel["type"] != "row")
}

/// Expressions of a dashboard's panels and variables, with their places. Grafana's variables have values.
pub fn expressions(dashboard: &Value) -> Vec<(String, String)> {
    let mut expressions = Vec::new();
    for panel in panels(dashboard) {
        let place = format!("panel {}", panel["title"]);
        for target in panel["targets"].as_array().into_iter().flatten() {
            expressions.push((place.clone(), expand(target["expr"].as_str().unwrap_or_default())));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().into_iter().flatten() {
        let query = variable["query"]["query"].as_str().unwrap_or_default();
        let Some(inner) = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')) else {
            continue;
        };
        if let Some((selector, label)) = inner.rsplit_once(',') {
            let expression = format!("count by ({}) ({})", label.trim(), expand(selector));
            expressions.push((format!("variable {}", variable["name"]), expression));
        }
    }
    expressions
}

/// Replaces Grafana's variables in an expression by values.
fn expand(expression: &str) -> String {
    let values = [("$__rate_interval", "1m"), ("$__range", "1h"), ("$namespace", ".*"), ("$job", ".*")];
    values.iter().fold(expression.to_owned(), |text, (name, value)| text.replace(name, value))
}

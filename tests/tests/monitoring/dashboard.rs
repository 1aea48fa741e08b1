//! The dashboard's form: Grafana accepts more than what is readable.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use zstart_tests::prometheus::dashboard::{dashboard, panels};

#[test]
fn panels_have_a_description_a_unit_and_the_data_source() -> Result<()> {
    let dashboard = dashboard()?;
    let source = json!({"type": "prometheus", "uid": "${datasource}"});
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().context("no panels")? {
        assert!(ids.insert(panel["id"].as_i64()), "two panels have the id {}", panel["id"]);
    }
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().context("a panel has no title")?;
        let description = panel["description"].as_str().unwrap_or_default();
        assert!(description.ends_with('.') && description.len() > 20, "{title}: {description:?}");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has no unit");
        assert_eq!(panel["datasource"], source, "{title}");
        let targets = panel["targets"].as_array().context("no targets")?;
        assert!(!targets.is_empty(), "{title}");
        for target in targets {
            assert_eq!(target["datasource"], source, "{title}");
            let expression = target["expr"].as_str().unwrap_or_default();
            let selectors = expression.matches("zstart_").count();
            let filtered = expression.matches("namespace=~\"$namespace\",job=~\"$job\"").count();
            assert_eq!(selectors, filtered, "{title}: a selector lacks the dashboard's variables");
        }
    }
    Ok(())
}

#[test]
fn panels_do_not_overlap_and_rows_open_sections() -> Result<()> {
    let dashboard = dashboard()?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    assert_eq!(panels[0]["type"], "row", "the first panel opens a section");
    let mut cells = BTreeSet::new();
    for panel in panels {
        let place = |name: &str| panel["gridPos"][name].as_u64().context("a panel has no place");
        let (x, y, width, height) = (place("x")?, place("y")?, place("w")?, place("h")?);
        assert!(x + width <= 24, "{} is too wide", panel["title"]);
        for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{} overlaps another panel at {cell:?}", panel["title"]);
        }
    }
    Ok(())
}

#[test]
fn variables_start_with_the_data_source() -> Result<()> {
    let dashboard = dashboard()?;
    let variables = dashboard["templating"]["list"].as_array().context("no variables")?;
    let names: Vec<&Value> = variables.iter().map(|variable| &variable["name"]).collect();
    assert_eq!(names, ["datasource", "namespace", "job"]);
    assert_eq!((&variables[0]["type"], &variables[0]["query"]), (&json!("datasource"), &json!("prometheus")));
    // Prometheus without Kubernetes' labels: an empty label matches as well.
    assert!(variables[1..].iter().all(|variable| variable["allValue"] == ".*"));
    assert_eq!(dashboard["uid"], "zstart");
    Ok(())
}

//! Alerts and panels name only metrics, labels and values that the programs export.

use anyhow::{Context as _, Result};
use zstart_tests::prometheus::dashboard::{self, dashboard};
use zstart_tests::prometheus::programs::Programs;
use zstart_tests::prometheus::promql::{selectors, unknown_names};
use zstart_tests::prometheus::{Prometheus, alerts};

/// Places and expressions of all alerts and panels.
pub(crate) fn expressions() -> Result<Vec<(String, String)>> {
    let mut expressions = dashboard::expressions(&dashboard()?);
    for alert in alerts()? {
        let expression = alert["expr"].as_str().context("an alert has no expression")?;
        expressions.push((format!("alert {}", alert["alert"]), expression.to_owned()));
    }
    Ok(expressions)
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_and_panels_name_what_the_programs_export() -> Result<()> {
    let programs = Programs::start().await?;
    let exported = programs.metrics().await?;
    let (places, texts): (Vec<String>, Vec<String>) = expressions()?.into_iter().unzip();
    assert!(texts.len() > 60, "{places:?}");
    let mut unknown = Vec::new();
    for (place, selectors) in places.iter().zip(selectors(&texts).await?) {
        assert!(!selectors.is_empty(), "{place} reads no metric");
        let names = unknown_names(&selectors, &exported);
        unknown.extend(names.into_iter().map(|name| format!("{place}: {name}")));
    }
    assert_eq!(unknown, Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn parser_finds_every_selector_of_an_expression() -> Result<()> {
    let expression = "sum by (a) (rate(m_total{x=\"1\",y!~\"2|3\"}[5m])) / on (a) group_left (b) max by (c) (n) \
                      or absent({__name__=~\"o|p\"})";
    let found = selectors(&[expression.to_owned(), "1".to_owned()]).await?;
    let shown: Vec<String> = found[0]
        .iter()
        .map(|selector| {
            let matchers = selector
                .matchers
                .iter()
                .map(|matcher| format!("{}{}{}", matcher.label, matcher.kind, matcher.value));
            format!("{} {:?} {:?}", selector.metric, matchers.collect::<Vec<_>>(), selector.labels)
        })
        .collect();
    assert_eq!(shown, [r#"m_total ["x=1", "y!~2|3"] ["a"]"#, r#"n [] ["a", "c"]"#, "=~o|p [] []"]);
    assert_eq!(found[1], []);
    let error = selectors(&["sum(".to_owned()]).await.unwrap_err();
    assert!(format!("{error:#}").contains("failed to parse \"sum(\""), "{error:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_programs_and_evaluates_rules() -> Result<()> {
    let programs = Programs::start().await?;
    programs.metrics().await?;
    let prometheus = Prometheus::scrape(programs.folder(), &programs.addresses()).await?;
    prometheus.wait_for_targets(2).await?;
    for (place, expression) in expressions()? {
        prometheus.query(&expression).await.context(place)?;
    }
    for (job, metric) in
        [("controller", "zstart_controller_leader"), ("webhook", "zstart_webhook_reviews_total")]
    {
        let result = prometheus.query(metric).await?;
        assert!(result.iter().all(|sample| sample["metric"]["job"] == job), "{result:?}");
        assert!(!result.is_empty(), "{metric} wasn't scraped");
    }
    // The webhook has no certificate, which its alert must see.
    let alert = alerts()?.into_iter().find(|alert| alert["alert"] == "ZstartWebhookWithoutCertificate");
    let alert = alert.context("no alert about a missing certificate")?;
    let result = prometheus.query(alert["expr"].as_str().unwrap_or_default()).await?;
    assert_eq!(result.len(), 1, "{result:?}");
    Ok(())
}

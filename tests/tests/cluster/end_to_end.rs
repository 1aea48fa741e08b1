//! zstart in a cluster, from an image in the registry to a pod that runs its variant.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use zstart_tests::prometheus::Prometheus;
use zstart_tests::{cluster, demo, wait};

#[test]
fn pod_of_a_real_image_starts_from_its_verified_variant() {
    let image = demo::small_image().expect("the image exists or is built");
    cluster::run(
        "end_to_end::pod_of_a_real_image_starts_from_its_verified_variant",
        |mut cluster| async move {
            let results = cluster.folder().to_owned();
            let prometheus = demo::monitoring::start(&cluster).await?;
            demo::scenario::run(&mut cluster, &cluster::built_binaries()?, &image, 1, &results).await?;
            require_scraped(&prometheus).await?;
            let html = std::fs::read_to_string(results.join("report.html"))?;
            ensure!(
                html.matches("(median of 1)").count() == 2 && html.contains("shop/forecast:v1"),
                "{html}"
            );
            let said = std::fs::read_to_string(results.join("commands.txt"))?;
            ensure!(
                said.contains("now: \u{1b}[1mRewritten\u{1b}[0m") && said.contains(" 0 failed"),
                "{said}"
            );
            Ok(())
        },
    );
}

/// Requires that a Prometheus has scraped the controller and both webhooks, and sees what they did.
async fn require_scraped(prometheus: &Prometheus) -> Result<()> {
    prometheus.wait_for_targets(3).await?;
    for expression in [
        "sum(zstart_controller_conversion_seconds_count) == 1",
        "sum(zstart_webhook_images_total{reason=\"Rewritten\"}) >= 1",
        "sum(zstart_controller_pull_seconds_count{kind=\"original\"}) >= 1",
        "sum(zstart_controller_pull_seconds_count{kind=\"variant\"}) >= 1",
        // The first node has pulled the source before.
        "sum(zstart_controller_repeated_pulls_total{kind=\"variant\"}) >= 1",
        "count(zstart_webhook_certificate_expiry_timestamp_seconds > time()) == 2",
    ] {
        wait::until(expression, Duration::from_mins(1), || async {
            Ok((!prometheus.query(expression).await?.is_empty()).then_some(()))
        })
        .await?;
    }
    let leader = prometheus.query("zstart_controller_leader == 1").await?;
    let labels = &leader.first().context("no leader")?["metric"];
    ensure!(labels["namespace"] == cluster::NAMESPACE && labels["container"] == "controller", "{labels}");
    let alerts = prometheus.ask("alerts", &[]).await?;
    let firing = alerts["alerts"].as_array().into_iter().flatten().filter(|alert| alert["state"] == "firing");
    let firing: Vec<_> = firing.map(|alert| &alert["labels"]).collect();
    ensure!(firing.is_empty(), "these alerts fire in a sound cluster: {firing:?}");
    Ok(())
}

//! Platforms of nodes that come and go.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;
use zstart_tests::chart;
use zstart_tests::images::{Fixture, Index};
use zstart_tests::wait;

use crate::lab::{Lab, SYSTEM, WITHIN};

/// Name of the chart's `ConfigMap`.
const MEMORY: &str = "zstart-controller-platforms";

impl Lab {
    /// Pushes an image for amd64 and arm64.
    async fn push_both(&self, name: &str) -> Result<()> {
        let of = |architecture: &str| {
            let content = format!("{name} for {architecture}");
            Fixture::new().platform("linux", architecture).layer(&[("etc/app", content.as_bytes())])
        };
        let index = Index::new().image(&of("amd64"))?.image(&of("arm64"))?;
        index.prepare()?.push(&self.registry.host(), name).await?;
        Ok(())
    }

    /// Architectures of the variant of a ready image.
    async fn architectures(&self, image: &str) -> Result<BTreeSet<String>> {
        let variant = self.ready(image).await?.variant.context("no variant")?;
        Ok(variant.platforms.into_iter().map(|platform| platform.platform.architecture).collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn platform_scaled_to_zero_counts_for_days_and_restarts() -> Result<()> {
    let lab = Lab::start().await?;
    let objects = chart::Helm::find().await?.render("zstart", &[]).await?;
    let memory = chart::find(&objects, "ConfigMap", MEMORY)?.clone();
    lab.create::<ConfigMap>(&lab.namespaced(SYSTEM), memory).await?;
    for name in ["one:v1", "two:v1", "three:v1"] {
        lab.push_both(name).await?;
    }
    lab.node("graviton", "arm64").await?;
    lab.deploy("on", "one", &lab.image("one:v1")).await?;
    let controller = lab.start_controller().await?;
    let both = BTreeSet::from(["amd64".to_owned(), "arm64".to_owned()]);
    assert_eq!(lab.architectures(&lab.image("one:v1")).await?, both);
    let one = lab.namespaced::<Deployment>("on").get("one").await?;
    lab.settled_after_list(&one, &lab.image("one:v1")).await?;

    let calls = |name: &str| lab.gateway.calls().iter().filter(|call| call.contains(name)).count();
    let before = calls("/v2/one/");
    Api::<Node>::all(lab.admin.clone()).delete("graviton", &DeleteParams::default()).await?;
    // Looked at after the node has left.
    lab.deploy("on", "two", &lab.image("two:v1")).await?;
    assert_eq!(lab.architectures(&lab.image("two:v1")).await?, both);
    assert_eq!(calls("/v2/one/"), before, "the other record isn't due");

    wait::until("the platforms to be recorded", WITHIN, || async {
        let memory = lab.namespaced::<ConfigMap>(SYSTEM).get(MEMORY).await?;
        let seen = memory.data.unwrap_or_default().remove("lastSeen").unwrap_or_default();
        Ok((seen.contains("linux/amd64") && seen.contains("linux/arm64")).then_some(()))
    })
    .await?;
    controller.stop().await?;
    let _controller = lab.start_controller().await?;
    lab.deploy("on", "three", &lab.image("three:v1")).await?;
    assert_eq!(lab.architectures(&lab.image("three:v1")).await?, both);
    assert_eq!(lab.architectures(&lab.image("one:v1")).await?, both);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn platform_last_seen_before_the_retention_is_dropped() -> Result<()> {
    let lab = Lab::start().await?;
    let times = json!({"linux/arm64": "2020-01-01T00:00:00Z", "linux/riscv64": jiff::Timestamp::now()});
    let memory = json!({"metadata": {"name": MEMORY}, "data": {"lastSeen": times.to_string()}});
    lab.create::<ConfigMap>(&lab.namespaced(SYSTEM), memory).await?;
    lab.push_both("app:v1").await?;
    let _controller = lab.start_controller().await?;
    lab.deploy("on", "web", &lab.image("app:v1")).await?;
    assert_eq!(lab.architectures(&lab.image("app:v1")).await?, BTreeSet::from(["amd64".to_owned()]));
    wait::until("the outdated platform to be forgotten", WITHIN, || async {
        let memory = lab.namespaced::<ConfigMap>(SYSTEM).get(MEMORY).await?;
        let seen = memory.data.unwrap_or_default().remove("lastSeen").unwrap_or_default();
        Ok((seen.contains("linux/riscv64") && !seen.contains("linux/arm64")).then_some(()))
    })
    .await
}

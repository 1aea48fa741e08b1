//! `zstart explain`: pods of the cluster, and manifests.

use anyhow::Result;
use serde_json::{Value, json};

use crate::lab::Installation;
use crate::objects;

const APP: &str = "r.example/app:v1";

#[tokio::test(flavor = "multi_thread")]
async fn rewritten_pod_is_explained_now_and_then() -> Result<()> {
    let zstart = Installation::start().await?;
    let lab = &zstart.lab;
    let variant = lab.record(APP).await?;
    lab.check_until("dry-run-pod", "passed").await?;
    lab.create(Some("on"), objects::pod("plain", APP)).await?;
    let ended = lab.zstart(&["explain", "pod", "plain", "-n", "on", "--output", "json"]).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let report: Value = serde_json::from_str(&ended.stdout)?;
    let image = &report["images"][0];
    assert_eq!((&image["reason"], &image["runs"]), (&json!("Rewritten"), &json!(variant)), "{report:#}");

    let manifest = lab.file("pod.json", &objects::pod("fresh", APP))?;
    let ended = lab.zstart(&["explain", "-f", &manifest, "-n", "on"]).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.stdout.contains(&format!("now: Rewritten, a new pod runs {variant}")), "{}", ended.stdout);
    let ended = lab.zstart(&["explain", "-f", &manifest, "-n", "default"]).await?;
    assert!(ended.stdout.contains("✗ the API server sends no pods of namespace default"), "{}", ended.stdout);
    Ok(())
}

/// Its `ReplicaSet` doesn't exist yet, and counted as newer than each look at the tag.
#[tokio::test(flavor = "multi_thread")]
async fn deployment_manifest_is_explained_as_later_pods() -> Result<()> {
    let zstart = Installation::start().await?;
    let lab = &zstart.lab;
    let variant = lab.record(APP).await?;
    let pod = objects::pod("app", APP);
    let template = json!({"metadata": {"labels": {"app": "app"}}, "spec": pod["spec"]});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app", "namespace": "on"},
        "spec": {"selector": {"matchLabels": {"app": "app"}}, "template": template},
    });
    let manifest = lab.file("deployment.json", &deployment)?;
    let ended = lab.zstart(&["explain", "-f", &manifest]).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.stdout.contains(&format!("now: Rewritten, a new pod runs {variant}")), "{}", ended.stdout);
    assert!(
        ended.stdout.contains("note: the decision is about the later pods of a rollout"),
        "{}",
        ended.stdout
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn blocking_node_and_missing_pod_are_named() -> Result<()> {
    let zstart = Installation::start().await?;
    let lab = &zstart.lab;
    lab.record(APP).await?;
    lab.create(None, objects::node("old-node", "containerd://1.4.13")).await?;
    let manifest = lab.file("pod.json", &objects::pod("fresh", APP))?;
    let ended = lab.zstart(&["explain", "-f", &manifest, "-n", "on"]).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.stdout.contains("now: RuntimeUnsupported"), "{}", ended.stdout);
    assert!(ended.stdout.contains("old-node"), "{}", ended.stdout);

    let ended = lab.zstart(&["explain", "pod", "absent", "-n", "on"]).await?;
    assert_eq!(ended.code, Some(3), "{ended:#?}");
    assert!(ended.stderr.contains("pod absent doesn't exist in namespace on"), "{}", ended.stderr);
    Ok(())
}

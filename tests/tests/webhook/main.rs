//! The webhook, called by a real API server.

mod api_server;
mod balancer;
mod binary;
mod certificates;
mod installation;
mod log_pipe;
mod program;
mod records;
mod zero_loss;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use zstart_tests::definitions::define;
use zstart_tests::wait;

use crate::installation::{Installation, Registration, WITHIN};
use crate::records::{pod, record, record_with, variant_of};

const APP: &str = "r.example/app:v1";

fn image(pod: &Value) -> &str {
    pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn pod_is_rewritten_and_annotated_with_its_originals() -> Result<()> {
    let (zstart, webhook) = Installation::with_webhook().await?;
    zstart.record(&record(APP)).await?;
    zstart.wait_until_rewritten(APP).await?;
    assert_eq!(webhook.decisions("Rewritten").await?, 0, "dry runs aren't counted");

    let made = zstart
        .pod(
            "on",
            &json!({
                "metadata": {"generateName": "app-", "annotations": {"kept": "yes"}},
                "spec": {
                    "initContainers": [{"name": "init", "image": APP}],
                    "containers": [{"name": "app", "image": APP}, {"name": "other", "image": "r.example/other:v1"}],
                    "volumes": [{"name": "model", "image": {"reference": APP}}],
                },
            }),
        )
        .await?;
    let (spec, variant) = (&made["spec"], json!(variant_of(APP)));
    assert_eq!(spec["initContainers"][0]["image"], variant);
    assert_eq!(spec["containers"][0]["image"], variant);
    assert_eq!(spec["containers"][1]["image"], "r.example/other:v1");
    assert_eq!(spec["volumes"][0]["image"]["reference"], variant);
    let annotations = &made["metadata"]["annotations"];
    assert_eq!(annotations["kept"], "yes");
    let originals: Value =
        serde_json::from_str(annotations["zstart.dev/originals"].as_str().context("no note")?)?;
    assert_eq!(originals, json!({"containers/app": APP, "initContainers/init": APP, "volumes/model": APP}));
    assert_eq!((webhook.decisions("Rewritten").await?, webhook.decisions("NoRecord").await?), (3, 1));
    webhook.stop().await
}

/// Condition `Ready` of a record that isn't ready.
fn unready(reason: &str) -> Value {
    json!({"type": "Ready", "status": "False", "reason": reason, "message": "",
        "lastTransitionTime": "2026-11-23T12:00:00Z"})
}

#[tokio::test(flavor = "multi_thread")]
async fn ineligible_pods_are_admitted_unchanged() -> Result<()> {
    let (zstart, webhook) = Installation::with_webhook().await?;
    let other = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    for record in [
        record_with("r.example/unready:v1", "/status/conditions/0", unready("NotConvertible")),
        record_with("r.example/new:v1", "/status/conditions/0", unready("Converting")),
        record_with("r.example/denied:v1", "/status/conditions/0", unready("PushDenied")),
        record_with("r.example/stale:v1", "/status/source/checkedAt", json!("2020-01-01T00:00:00Z")),
        record_with("r.example/arm:v1", "/status/variant/platforms/0/platform", json!("linux/arm64")),
        record_with("r.example/moved:v1", "/status/source/digest", json!(other)),
        record_with(
            "r.example/far:v1",
            "/status/variant/reference",
            json!(format!("elsewhere.example/a:v1@{other}")),
        ),
        record(APP),
    ] {
        zstart.record(&record).await?;
    }
    // The webhook knows the record written last, so it knows all of them.
    zstart.wait_until_rewritten(APP).await?;

    let with = |pointer: &str, value: Value| {
        let mut pod = pod(APP);
        let (parent, field) = pointer.rsplit_once('/').unwrap_or_default();
        if let Some(parent) = pod.pointer_mut(parent) {
            parent[field] = value;
        }
        pod
    };
    let foreign = json!([{"apiVersion": "db.example/v1", "kind": "Database", "name": "d", "uid": "1",
        "controller": true}]);
    let set = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "new", "uid": "1",
        "controller": true}]);
    let applied = json!({"meta.helm.sh/release-name": "app"});
    let cases = [
        ("on", pod("r.example/unready:v1"), "RecordNotReady"),
        ("on", pod("r.example/new:v1"), "RecordConverting"),
        ("on", pod("r.example/denied:v1"), "RecordFailed"),
        ("on", with("/metadata/ownerReferences", set), "NotFresh"),
        ("on", with("/metadata/annotations", applied), "AppliedBare"),
        ("on", with("/metadata/annotations", json!({"zstart.dev/keep-images": "app"})), "ImageOptedOut"),
        ("on", pod("r.example/stale:v1"), "RecordStale"),
        ("on", pod("r.example/arm:v1"), "PlatformNotCovered"),
        ("on", pod("r.example/moved:v1"), "SourceMoved"),
        ("on", pod("r.example/far:v1"), "TargetNotAllowed"),
        ("on", pod("r.example/unheard-of:v1"), "NoRecord"),
        ("on", with("/metadata/labels", json!({"zstart.dev/rewrite": "disabled"})), "PodOptedOut"),
        ("on", with("/metadata/ownerReferences", foreign), "ForeignController"),
        ("on", with("/spec/os", json!({"name": "windows"})), "Windows"),
        ("on", with("/spec/nodeSelector", json!({"zone": "none"})), "NoCandidateNode"),
        ("audit", pod(APP), "Audited"),
        ("off", pod(APP), "NamespaceNotEnabled"),
    ];
    for (namespace, pod, reason) in cases {
        let made = zstart.pod(namespace, &pod).await.with_context(|| format!("{reason}: refused"))?;
        assert_eq!(image(&made), image(&pod), "{reason}");
        assert_eq!(made["metadata"].get("annotations"), pod["metadata"].get("annotations"), "{reason}");
        assert_eq!(webhook.decisions(reason).await?, 1, "{reason}");
    }
    assert_eq!(image(&zstart.pod("on", &pod(APP)).await?), variant_of(APP));
    webhook.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn ephemeral_container_alone_is_rewritten_in_a_running_pod() -> Result<()> {
    let (zstart, webhook) = Installation::with_webhook().await?;
    // The pod is older than the record.
    let running = zstart.pod("on", &pod(APP)).await?;
    zstart.record(&record(APP)).await?;
    zstart.wait_until_rewritten(APP).await?;
    let name = running["metadata"]["name"].as_str().context("no name")?;
    let debug = json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": APP}]}});
    let pods = zstart.namespaced::<Pod>("on");
    let patched =
        pods.patch_ephemeral_containers(name, &PatchParams::default(), &Patch::Strategic(debug)).await?;
    let patched = serde_json::to_value(patched)?;
    assert_eq!(patched["spec"]["ephemeralContainers"][0]["image"], json!(variant_of(APP)));
    assert_eq!(image(&patched), APP);
    webhook.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_needs_a_certificate_and_complete_lists() -> Result<()> {
    let zstart = Installation::without_webhook().await?;
    let webhook = zstart.start("").await?;
    let (status, why) = webhook.get("/readyz").await?;
    assert_eq!((status, why.as_str()), (503, "no serving certificate yet"));
    assert_eq!(webhook.get("/livez").await?.0, 200);
    assert!(zstart.authority.served(webhook.https).await.is_err(), "nothing can be served yet");

    zstart.write_serving_secret(&zstart.authority.issue()?).await?;
    wait::until("the certificate to be served", WITHIN, || async {
        zstart.authority.served(webhook.https).await.map(Some)
    })
    .await?;
    // The definition of records doesn't exist, so records can't have been listed.
    let (status, why) = webhook.get("/readyz").await?;
    assert_eq!(status, 503);
    assert!(why.contains("first list"), "{why}");

    define(&zstart.admin).await?;
    webhook.wait_until_ready().await?;
    webhook.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn renewed_certificate_is_served_and_a_broken_one_ignored() -> Result<()> {
    let (zstart, webhook) = Installation::with_webhook().await?;
    zstart.record(&record(APP)).await?;
    zstart.wait_until_rewritten(APP).await?;

    zstart.write_serving_secret(&json!({"tls.crt": "broken", "tls.key": "broken"})).await?;
    let renewed = zstart.authority.issue()?;
    zstart.write_serving_secret(&renewed).await?;
    let renewed = certificates::der(&renewed)?;
    wait::until("the renewed certificate to be served", WITHIN, || async {
        Ok((zstart.authority.served(webhook.https).await? == renewed).then_some(()))
    })
    .await?;
    assert_eq!(image(&zstart.pod("on", &pod(APP)).await?), variant_of(APP));
    webhook.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn restored_pod_keeps_or_loses_its_variant() -> Result<()> {
    let (zstart, webhook) = Installation::with_webhook().await?;
    zstart.record(&record(APP)).await?;
    zstart.wait_until_rewritten(APP).await?;
    let restored = |original: &str| {
        let mut pod = pod(&variant_of(original));
        let originals = json!({"containers/app": original}).to_string();
        pod["metadata"]["annotations"] = json!({"zstart.dev/originals": originals});
        pod
    };
    let kept = zstart.pod("on", &restored(APP)).await?;
    assert_eq!((image(&kept), webhook.decisions("Rewritten").await?), (&*variant_of(APP), 0));
    // Its record is gone since the backup was made.
    let gone = zstart.pod("on", &restored("r.example/gone:v1")).await?;
    assert_eq!(
        (image(&gone), gone["metadata"]["annotations"].get("zstart.dev/originals")),
        ("r.example/gone:v1", None)
    );
    webhook.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_admitted_unchanged_without_the_webhook() -> Result<()> {
    let (zstart, webhook) = Installation::with_webhook().await?;
    zstart.record(&record(APP)).await?;
    zstart.wait_until_rewritten(APP).await?;
    // The webhook has ended, and the API server can't reach it.
    webhook.stop().await?;
    assert_eq!(image(&zstart.pod("on", &pod(APP)).await?), APP);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn largest_pod_of_an_api_server_is_rewritten() -> Result<()> {
    let (zstart, webhook) = Installation::with_webhook().await?;
    zstart.record(&record(APP)).await?;
    zstart.wait_until_rewritten(APP).await?;
    let mut large = pod(APP);
    // The API server accepts requests of 3 MiB. It couldn't store such a pod: etcd's limit is 1.5 MiB.
    large["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "x".repeat((3 << 20) - 1000)}]);
    assert_eq!(image(&zstart.dry_run_pod("on", &large).await?), variant_of(APP));
    webhook.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_that_lists_v1beta1_is_served() -> Result<()> {
    let zstart = Installation::ready_for_webhook().await?;
    let webhook = zstart.start("").await?;
    webhook.wait_until_ready().await?;
    zstart
        .register_webhook(webhook.https, Registration { version: "v1beta1", ..Registration::default() })
        .await?;
    zstart.record(&record(APP)).await?;
    zstart.wait_until_rewritten(APP).await?;
    assert_eq!(image(&zstart.pod("on", &pod(APP)).await?), variant_of(APP));
    webhook.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_certificate_is_not_ready_and_pods_are_admitted() -> Result<()> {
    let (zstart, webhook) = Installation::with_webhook().await?;
    zstart.record(&record(APP)).await?;
    zstart.wait_until_rewritten(APP).await?;
    zstart.write_serving_secret(&zstart.authority.issue_expired()?).await?;
    wait::until("the webhook to be unready", WITHIN, || async {
        let (status, why) = webhook.get("/readyz").await?;
        Ok((status == 503 && why == "the serving certificate expired at 2021-01-01T00:00:00Z").then_some(()))
    })
    .await?;
    zstart.pod("on", &pod(APP)).await?;
    zstart.write_serving_secret(&zstart.authority.issue()?).await?;
    webhook.wait_until_ready().await?;
    zstart.wait_until_rewritten(APP).await?;
    webhook.stop().await
}

//! An API server that is away, or silent.

use std::fmt::Debug;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, ReplicaSet};
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use zstart_core::ImageConversion;
use zstart_core::owner_hold::OwnerHold;
use zstart_tests::tcp_proxy::TcpProxy;
use zstart_tests::wait;

use crate::installation::{Installation, WITHIN};
use crate::records::{pod, record, variant_of};
use crate::{APP, image};

#[tokio::test(flavor = "multi_thread")]
async fn old_data_is_not_believed_until_it_is_confirmed() -> Result<()> {
    let (zstart, first) = Installation::with_webhook().await?;
    zstart.record(&record(APP)).await?;
    first.stop().await?;
    let mut proxy = TcpProxy::start(zstart.api_server().await?).await?;
    // An API server sends a bookmark about once a minute, so each pause between two is too long here.
    let webhook = zstart.start_through("maxCacheAge: 10s", &proxy).await?;
    webhook.wait_until_ready().await?;
    zstart.point_webhook_to(webhook.https).await?;
    zstart.wait_until_rewritten(APP).await?;

    // Watches are cut, and can't be opened again.
    proxy.stop().await;
    wait::until("the webhook's data to be old", WITHIN, || async {
        let made = zstart.pod("on", &pod(APP)).await?;
        Ok((image(&made) == APP).then_some(()))
    })
    .await?;
    assert_eq!(webhook.decisions("CacheStale").await?, 1);
    let (_, metrics) = webhook.get("/metrics").await?;
    assert!(metrics.contains("zstart_webhook_cache_age_seconds{resource=\"nodes\"} 1"), "{metrics}");

    // The watches recover alone, each after a backoff of its own.
    proxy.restart().await?;
    wait::until("the webhook's data to be confirmed", WITHIN, || async {
        touch_all(&zstart).await?;
        let made = zstart.pod("on", &pod(APP)).await?;
        Ok((image(&made) == variant_of(APP)).then_some(()))
    })
    .await?;
    webhook.stop().await
}

/// Changes an object of each kind that the webhook watches, so that each watch has an event.
async fn touch_all(zstart: &Installation) -> Result<()> {
    let metadata =
        |name: &str| json!({"name": name, "annotations": {"touched": Timestamp::now().to_string()}});
    let template = json!({"metadata": {"labels": {"app": "touched"}},
        "spec": {"containers": [{"name": "app", "image": APP}]}});
    let replica_set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata("touched"),
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "touched"}}, "template": template}});
    let revision = json!({"apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": metadata("touched"), "data": {}, "revision": 1});
    let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "touched", "uid": ""});
    let hold = json!({"apiVersion": "zstart.dev/v1alpha1", "kind": "OwnerHold", "metadata": metadata("touched"),
        "spec": {"owner": owner, "template": "", "reason": "ImagePatchedBack", "message": ""}});
    let touched = |kind: &str, version: &str, name: &str| json!({"apiVersion": version, "kind": kind, "metadata": metadata(name)});
    let record = record(APP)["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let version = "zstart.dev/v1alpha1";
    apply(&zstart.namespaced::<ReplicaSet>("on"), replica_set).await?;
    apply(&zstart.namespaced::<ControllerRevision>("on"), revision).await?;
    apply(&zstart.namespaced::<OwnerHold>("on"), hold).await?;
    let admin = || zstart.admin.clone();
    apply(&Api::<Namespace>::all(admin()), touched("Namespace", "v1", "on")).await?;
    apply(&Api::<Node>::all(admin()), touched("Node", "v1", "lab")).await?;
    let records = Api::<ImageConversion>::all(admin());
    let touched = Patch::Merge(touched("ImageConversion", version, &record));
    records.patch(&record, &PatchParams::default(), &touched).await?;
    Ok(())
}

/// Creates or changes an object.
async fn apply<K>(api: &Api<K>, object: Value) -> Result<()>
where
    K: Clone + DeserializeOwned + Debug,
{
    let name = object["metadata"]["name"].as_str().context("an object without a name")?.to_owned();
    api.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await?;
    Ok(())
}

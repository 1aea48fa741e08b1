//! An API server that is away, or silent.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, ReplicaSet};
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use zstart_core::owner_hold::OwnerHold;
use zstart_core::{FreshnessSweep, ImageConversion};
use zstart_tests::tcp_proxy::TcpProxy;
use zstart_tests::wait;

use crate::installation::{Installation, Running, WITHIN};
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
    let ages = cache_ages(&webhook).await?;
    assert!(ages["nodes"] > 10.0, "{ages:?}");

    // The watches recover alone, each after a backoff of its own.
    proxy.restart().await?;
    wait::until("the webhook's data to be confirmed", WITHIN, || async {
        let touched = touch_all(&zstart).await?;
        assert_eq!(ages.keys().collect::<Vec<_>>(), touched.iter().collect::<Vec<_>>());
        let made = zstart.pod("on", &pod(APP)).await?;
        Ok((image(&made) == variant_of(APP)).then_some(()))
    })
    .await?;
    webhook.stop().await
}

/// Seconds since the webhook last heard of each kind that it watches.
async fn cache_ages(webhook: &Running) -> Result<BTreeMap<String, f64>> {
    let (_, metrics) = webhook.get("/metrics").await?;
    let ages = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix("zstart_webhook_cache_age_seconds{resource=\"")?;
        let (kind, age) = rest.split_once("\"} ")?;
        Some((kind.to_owned(), age.parse().ok()?))
    });
    Ok(ages.collect())
}

/// Changes an object of each kind that the webhook watches, so that each watch has an event. Returns the kinds.
async fn touch_all(zstart: &Installation) -> Result<BTreeSet<String>> {
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
    let sweep = json!({"apiVersion": "zstart.dev/v1alpha1", "kind": "FreshnessSweep", "metadata": metadata("touched"),
        "spec": {"sweptAt": Timestamp::now().to_string(), "confirmed": 0, "unconfirmed": 0, "confirmations": ""}});
    let touched = |kind: &str, version: &str, name: &str| json!({"apiVersion": version, "kind": kind, "metadata": metadata(name)});
    let record = record(APP)["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let version = "zstart.dev/v1alpha1";
    let admin = || zstart.admin.clone();
    let records = Api::<ImageConversion>::all(admin());
    let change = Patch::Merge(touched("ImageConversion", version, &record));
    records.patch(&record, &PatchParams::default(), &change).await?;
    let kinds = [
        apply(&zstart.namespaced::<ReplicaSet>("on"), replica_set).await?,
        apply(&zstart.namespaced::<ControllerRevision>("on"), revision).await?,
        apply(&zstart.namespaced::<OwnerHold>("on"), hold).await?,
        apply(&Api::<FreshnessSweep>::all(admin()), sweep).await?,
        apply(&Api::<Namespace>::all(admin()), touched("Namespace", "v1", "on")).await?,
        apply(&Api::<Node>::all(admin()), touched("Node", "v1", "lab")).await?,
        ImageConversion::plural(&()).into_owned(),
    ];
    Ok(kinds.into())
}

/// Creates or changes an object. Returns its kind's plural.
async fn apply<K>(api: &Api<K>, object: Value) -> Result<String>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let name = object["metadata"]["name"].as_str().context("an object without a name")?.to_owned();
    api.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await?;
    Ok(K::plural(&()).into_owned())
}

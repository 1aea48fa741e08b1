//! Limits of the controller's rights on pods: it may put a pod back on its original, and nothing more.

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use zstart_core::{Digest, keys};

use super::*;

const ANNOTATION: &str = "/metadata/annotations/zstart.dev~1originals";

fn variant_of(name: &str) -> String {
    let digest = Digest::sha256_of(name.as_bytes());
    format!("{name}:v1-zstd-{}-01234567@{digest}", digest.short())
}

/// Pod with two rewritten containers, a third one, and a label.
fn pod() -> Value {
    let originals = json!({"containers/app": "r.example:5000/app:v1", "initContainers/init": "init:v1"});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "web", "labels": {"app": "web"},
            "annotations": {keys::ORIGINALS: originals.to_string(), "other": "kept"},
        },
        "spec": {
            "initContainers": [{"name": "init", "image": variant_of("init")}],
            "containers": [
                {"name": "app", "image": variant_of("r.example:5000/app")},
                {"name": "plain", "image": "r.example:5000/plain:v1"},
            ],
        },
    })
}

fn replace(path: &str, value: impl Into<Value>) -> Value {
    json!({"op": "replace", "path": path, "value": value.into()})
}

fn add(path: &str, value: impl Into<Value>) -> Value {
    json!({"op": "add", "path": path, "value": value.into()})
}

/// Annotation with one entry less.
fn without(field: &str) -> Result<Value> {
    let annotation = pod()["metadata"]["annotations"][keys::ORIGINALS].clone();
    let mut originals: serde_json::Map<String, Value> =
        serde_json::from_str(annotation.as_str().context("no annotation")?)?;
    originals.remove(field);
    Ok(replace(ANNOTATION, Value::Object(originals).to_string()))
}

async fn patch(pods: &Api<Pod>, operations: &Value, is_dry_run: bool) -> kube::Result<Pod> {
    let parameters = PatchParams { dry_run: is_dry_run, ..PatchParams::default() };
    let patch = Patch::<()>::Json(serde_json::from_value(operations.clone()).expect("a JSON Patch"));
    pods.patch("web", &parameters, &patch).await
}

#[tokio::test]
async fn controller_may_only_put_a_pod_back_on_its_originals() -> Result<()> {
    let zstart = Installation::start(&[]).await?;
    let all: Api<Pod> = Api::namespaced(zstart.client().clone(), "default");
    all.create(&PostParams::default(), &serde_json::from_value(pod())?).await?;
    let pods: Api<Pod> = Api::namespaced(zstart.user(CONTROLLER, &[]).await?, "default");
    let app = |image: &str| replace("/spec/containers/0/image", image);
    let label = json!([add("/metadata/labels/forged", "true")]);
    eventually("the policy is in force", async || match patch(&pods, &label, true).await {
        Err(kube::Error::Api(status)) => Ok(status.message.contains("ValidatingAdmissionPolicy")),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(false),
    })
    .await?;

    let evil_entry = json!({"containers/app": "r.example:5000/evil:v1"}).to_string();
    let toleration =
        json!([{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}]);
    for (what, operations) in [
        ("another image", json!([app("evil.example/app:v1"), without("containers/app")?])),
        ("another tag", json!([app("r.example:5000/app:v2"), without("containers/app")?])),
        ("another container's original", json!([app("init:v1"), without("containers/app")?])),
        ("an entry of its own", json!([app("r.example:5000/evil:v1"), replace(ANNOTATION, &*evil_entry)])),
        ("an untrue annotation", json!([app("r.example:5000/app:v1")])),
        ("another entry's removal", json!([app("r.example:5000/app:v1"), without("initContainers/init")?])),
        ("a changed entry", json!([replace(ANNOTATION, &*evil_entry)])),
        (
            "an image that is no variant",
            json!([replace("/spec/containers/1/image", "r.example:5000/plain:v2")]),
        ),
        ("another annotation", json!([add("/metadata/annotations/other", "changed")])),
        ("a new annotation", json!([add("/metadata/annotations/new", "true")])),
        ("a removed annotation", json!([{"op": "remove", "path": "/metadata/annotations/other"}])),
        ("a label", label),
        ("a finalizer", json!([add("/metadata/finalizers", json!(["zstart.dev/forged"]))])),
        ("a deadline", json!([add("/spec/activeDeadlineSeconds", 1)])),
        ("a toleration", json!([add("/spec/tolerations", toleration)])),
    ] {
        let message = refusal(patch(&pods, &operations, true).await).context(what)?;
        assert!(message.contains("zstart's controller may change"), "{what}: {message}");
    }

    // One after the other, as the healer does.
    let init = json!([replace("/spec/initContainers/0/image", "init:v1"), without("initContainers/init")?,]);
    patch(&pods, &init, false).await.context("the init container")?;
    let rest = json!([app("r.example:5000/app:v1"), {"op": "remove", "path": ANNOTATION}]);
    let restored = patch(&pods, &rest, false).await.context("the container")?;
    let annotations = restored.metadata.annotations.unwrap_or_default();
    assert_eq!(annotations.into_iter().collect::<Vec<_>>(), [("other".to_owned(), "kept".to_owned())]);

    // Other users are not limited.
    patch(&all, &json!([app("evil.example/app:v1")]), true).await.context("an administrator")?;
    Ok(())
}

#[tokio::test]
async fn controller_may_evict_by_uid_in_enabled_namespaces() -> Result<()> {
    let zstart = Installation::start(&[]).await?;
    let namespaces: Api<Namespace> = Api::all(zstart.client().clone());
    let controller = zstart.user(CONTROLLER, &[]).await?;
    for (namespace, label) in [("on", "enabled"), ("off", "disabled")] {
        let object = json!({"metadata": {"name": namespace, "labels": {keys::REWRITE: label}}});
        namespaces.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        let pods: Api<Pod> = Api::namespaced(zstart.client().clone(), namespace);
        pods.create(&PostParams::default(), &serde_json::from_value(pod())?).await?;
    }
    let evict = async |namespace: &str, options: Value| {
        let pods: Api<Pod> = Api::namespaced(controller.clone(), namespace);
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web", "namespace": namespace},
            "deleteOptions": options,
        });
        let parameters = PostParams::default();
        let evicted = pods.create_subresource::<_, Value>("eviction", "web", &parameters, &eviction);
        evicted.await
    };
    let pods: Api<Pod> = Api::namespaced(zstart.client().clone(), "on");
    let uid = pods.get("web").await?.uid().context("the pod has no UID")?;
    let by_uid = json!({"preconditions": {"uid": uid}});
    eventually("the policy is in force", async || match evict("off", by_uid.clone()).await {
        Err(kube::Error::Api(status)) => Ok(status.message.contains("ValidatingAdmissionPolicy")),
        Err(error) => Err(error.into()),
        Ok(_) => bail!("the pod was evicted"),
    })
    .await?;
    let message = refusal(evict("on", json!({})).await)?;
    assert!(message.contains("must name the UID"), "{message}");
    evict("on", by_uid).await?;
    assert_eq!(pods.get_opt("web").await?.map(|pod| pod.metadata.deletion_timestamp.is_none()), None);
    Ok(())
}

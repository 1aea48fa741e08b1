//! Objects of the cluster. Deployment, `ReplicaSet` and reference have the same number.

use serde_json::{Value, json};

use crate::bench_webhook::{nodes, pods, reviews::ReplicaSet};

/// Opted-in namespaces.
pub(super) const NAMESPACES: usize = 100;
/// Host that no name server knows.
const REGISTRY: &str = "registry.invalid";
/// Sidecar of every pod.
const SIDECAR: &str = "registry.invalid/mesh/proxy:v1.27.3";
/// Hash of every pod template.
const TEMPLATE_HASH: &str = "5d4f7c9b8";

/// Namespace of an owner.
pub(super) fn namespace(owner: usize) -> String {
    format!("team-{:03}", owner % NAMESPACES)
}

/// Name of a pod.
pub(super) fn pod_name(number: usize) -> String {
    format!("pod-{number}")
}

/// Reference of an image.
fn reference(number: usize) -> String {
    format!("{REGISTRY}/team-{:03}/service-{number}:v1.{}.0", number % NAMESPACES, number % 50)
}

/// Pod of a Deployment, bound to one of `nodes` nodes.
pub(super) fn pod(number: usize, owner: usize, image: usize, nodes: usize) -> Value {
    let replica_set = ReplicaSet {
        name: format!("service-{owner}-{TEMPLATE_HASH}"),
        uid: format!("00000000-0000-4000-8000-{owner:012}"),
    };
    let node = nodes::node(number % nodes.max(1))["metadata"]["name"].clone();
    let images = [reference(image), SIDECAR.to_owned()];
    let mut pod = pods::pod(owner, &images, &replica_set, &json!({"nodeName": node}));
    let metadata = &mut pod["metadata"];
    metadata["name"] = json!(pod_name(number));
    metadata["namespace"] = json!(namespace(owner));
    metadata["labels"]["pod-template-hash"] = json!(TEMPLATE_HASH);
    pod
}

/// Deployment of the pods.
pub(super) fn deployment(number: usize) -> Value {
    let pod = pod(0, number, number, 1);
    let mut spec = pod["spec"].clone();
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("nodeName");
    }
    let labels = pod["metadata"]["labels"].clone();
    json!({
        "metadata": {"name": format!("service-{number}"), "namespace": namespace(number), "labels": labels},
        "spec": {"replicas": 5, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels, "annotations": pod["metadata"]["annotations"]}, "spec": spec,
        }},
    })
}

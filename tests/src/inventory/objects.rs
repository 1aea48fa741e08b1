//! Objects of the cluster. Deployment, `ReplicaSet` and reference have the same number.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::bench_webhook::{nodes, pods, reviews::ReplicaSet};

/// Opted-in namespaces.
pub(super) const NAMESPACES: usize = 100;
/// Repository and tag of the sidecar of every pod.
const SIDECAR: (&str, &str) = ("mesh/proxy", "v1.27.3");
/// Repositories of the references.
const REPOSITORIES: usize = 100;
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

/// Repository and tag of an image.
fn image(number: usize) -> (String, String) {
    (format!("team/service-{}", number % REPOSITORIES), format!("v1.{}.0", number / REPOSITORIES))
}

/// Repositories with their tags: those of `references` images, and the sidecar.
pub(super) fn repositories(references: usize) -> BTreeMap<String, Vec<String>> {
    let mut repositories = BTreeMap::<String, Vec<String>>::new();
    for (repository, tag) in (0..references).map(image) {
        repositories.entry(repository).or_default().push(tag);
    }
    repositories.insert(SIDECAR.0.to_owned(), vec![SIDECAR.1.to_owned()]);
    repositories
}

/// Pod of a Deployment, bound to one of `nodes` nodes, with images of this registry.
pub(super) fn pod(registry: &str, number: usize, owner: usize, image: usize, nodes: usize) -> Value {
    let replica_set = ReplicaSet {
        name: format!("service-{owner}-{TEMPLATE_HASH}"),
        uid: format!("00000000-0000-4000-8000-{owner:012}"),
    };
    let node = nodes::node(number % nodes.max(1))["metadata"]["name"].clone();
    let (repository, tag) = self::image(image);
    let images = [(&*repository, &*tag), SIDECAR].map(|(name, tag)| format!("{registry}/{name}:{tag}"));
    let mut pod = pods::pod(owner, &images, &replica_set, &json!({"nodeName": node}));
    let metadata = &mut pod["metadata"];
    metadata["name"] = json!(pod_name(number));
    metadata["namespace"] = json!(namespace(owner));
    metadata["labels"]["pod-template-hash"] = json!(TEMPLATE_HASH);
    pod
}

/// Deployment of the pods.
pub(super) fn deployment(registry: &str, number: usize) -> Value {
    let pod = pod(registry, 0, number, number, 1);
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

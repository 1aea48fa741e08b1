//! Parts of Kubernetes objects that several tests read or write.

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

/// `status.nodeInfo` of a node of this platform and runtime, such as `containerd://2.1.6`. The API server requires
/// all fields.
pub fn node_info(os: &str, architecture: &str, runtime: &str) -> Value {
    json!({
        "operatingSystem": os, "architecture": architecture, "containerRuntimeVersion": runtime, "bootID": "",
        "kernelVersion": "", "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "", "osImage": "",
        "systemUUID": "",
    })
}

/// Returns whether a node is Ready.
pub fn is_node_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Returns whether a pod is Ready.
pub fn is_pod_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

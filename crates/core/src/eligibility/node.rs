//! Nodes, reduced to the fields that decisions need: clusters have thousands of nodes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node as ApiNode;

use super::runtime::Runtime;
use super::selector::{Value, Values};
use super::taint::Taint;
use crate::platform::Platform;

/// Label with a node's architecture, used until the kubelet has reported.
pub const ARCHITECTURE_LABEL: &str = "kubernetes.io/arch";
/// Label with a node's operating system, used until the kubelet has reported.
pub const OS_LABEL: &str = "kubernetes.io/os";

/// Reduced node. If a node is equal before and after an update, no decision changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Object name, which `nodeName` and `matchFields` refer to.
    pub name: String,
    /// Labels that selectors and affinity terms match on.
    pub labels: BTreeMap<String, String>,
    /// Taints that permanently repel pods, in order.
    pub taints: Vec<Taint>,
    /// Platform of the images that the node runs; `None` until the kubelet or a label reports a platform.
    pub platform: Option<Platform>,
    /// Container runtime; `None` until the kubelet has reported.
    pub runtime: Option<Runtime>,
}

impl From<ApiNode> for Node {
    fn from(node: ApiNode) -> Self {
        let ApiNode { metadata, spec, status } = node;
        let labels = metadata.labels.unwrap_or_default();
        let info = status.and_then(|status| status.node_info);
        let reported_or_label = |own: Option<&str>, label: &str| {
            own.filter(|text| !text.is_empty()).or(labels.get(label).map(String::as_str)).map(str::to_owned)
        };
        let os = reported_or_label(info.as_ref().map(|info| info.operating_system.as_str()), OS_LABEL);
        let architecture =
            reported_or_label(info.as_ref().map(|info| info.architecture.as_str()), ARCHITECTURE_LABEL);
        let taints = spec.and_then(|spec| spec.taints).unwrap_or_default();
        let mut taints: Vec<Taint> = taints.into_iter().filter_map(Taint::lasting).collect();
        taints.sort();
        Self {
            name: metadata.name.unwrap_or_default(),
            platform: os.zip(architecture).map(|(os, architecture)| Platform::new(&os, &architecture)),
            runtime: info.map(|info| Runtime::new(&info.container_runtime_version)),
            taints,
            labels,
        }
    }
}

impl Values for Node {
    fn label(&self, key: &str) -> Value<'_> {
        Value::Known(self.labels.get(key).map(String::as_str))
    }

    fn name(&self) -> Value<'_> {
        Value::Known(Some(&self.name))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(value: serde_json::Value) -> Node {
        serde_json::from_value::<ApiNode>(value).unwrap().into()
    }

    #[test]
    fn kubelet_report_overrides_node_labels() {
        let info = json!({
            "architecture": "arm64", "operatingSystem": "linux", "containerRuntimeVersion": "containerd://2.1.6",
            "bootID": "", "kernelVersion": "", "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "",
            "osImage": "", "systemUUID": "",
        });
        let node = node(json!({
            "metadata": {"name": "a", "labels": {ARCHITECTURE_LABEL: "amd64"}}, "status": {"nodeInfo": info},
        }));
        assert_eq!(node.platform, Some(Platform::new("linux", "arm64")));
        assert_eq!(node.runtime, Some(Runtime::new("containerd://2.1.6")));
    }

    #[test]
    fn unreported_node_has_label_platform_and_no_runtime() {
        let node = node(json!({
            "metadata": {"name": "a", "labels": {ARCHITECTURE_LABEL: "amd64", OS_LABEL: "windows"}},
        }));
        assert_eq!((node.platform, node.runtime), (Some(Platform::new("windows", "amd64")), None));
    }

    #[test]
    fn node_without_report_or_labels_has_no_platform() {
        assert_eq!(node(json!({"metadata": {"name": "a"}})).platform, None);
    }
}

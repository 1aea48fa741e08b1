//! Nodes, reduced to the fields that decisions need: clusters have thousands of nodes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node as ApiNode, Taint};

use super::runtime;
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
    /// Taints that tolerations are compared with.
    pub taints: Vec<Taint>,
    /// Platform of the images that the node runs; `None` until the kubelet or a label reports a platform.
    pub platform: Option<Platform>,
    /// The container runtime can start a zstd image.
    pub supports_zstd: bool,
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
        Self {
            name: metadata.name.unwrap_or_default(),
            platform: os.zip(architecture).map(|(os, architecture)| Platform::new(&os, &architecture)),
            supports_zstd: info.is_some_and(|info| runtime::supports_zstd(&info.container_runtime_version)),
            taints: spec.and_then(|spec| spec.taints).unwrap_or_default(),
            labels,
        }
    }
}

impl Node {
    /// Returns whether the node runs Windows.
    pub fn is_windows(&self) -> bool {
        self.platform.as_ref().is_some_and(Platform::is_windows)
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
        assert!(node.supports_zstd && !node.is_windows());
    }

    #[test]
    fn unreported_node_has_label_platform_and_no_runtime() {
        let node = node(json!({
            "metadata": {"name": "a", "labels": {ARCHITECTURE_LABEL: "amd64", OS_LABEL: "windows"}},
        }));
        assert_eq!(node.platform, Some(Platform::new("windows", "amd64")));
        assert!(!node.supports_zstd && node.is_windows());
    }

    #[test]
    fn node_without_report_or_labels_has_no_platform() {
        assert_eq!(node(json!({"metadata": {"name": "a"}})).platform, None);
    }
}

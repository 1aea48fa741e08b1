//! What a decision needs to know of a node, and nothing else: clusters have thousands.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node as ApiNode, Taint};

use super::runtime;
use crate::platform::Platform;

/// Label with the node's processor, for nodes whose kubelet hasn't reported yet.
pub const ARCHITECTURE_LABEL: &str = "kubernetes.io/arch";
/// Label with the node's operating system.
pub const OS_LABEL: &str = "kubernetes.io/os";

/// A node, reduced. Equal before and after an update means that no decision changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The object's name, which `nodeName` and `matchFields` mean.
    pub name: String,
    /// What selectors and affinity terms match on.
    pub labels: BTreeMap<String, String>,
    /// What tolerations are held against.
    pub taints: Vec<Taint>,
    /// What images it runs; `None` as long as neither the kubelet nor a label says it.
    pub platform: Option<Platform>,
    /// Whether its runtime can start a zstd image.
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
    /// Whether it runs Windows.
    pub fn is_windows(&self) -> bool {
        self.platform.as_ref().is_some_and(|platform| platform.os == "windows")
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

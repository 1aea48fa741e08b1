//! Simulated nodes, which take the pods of a soak and no others.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::kwok::{self, NODE_ANNOTATION};
use crate::objects::{is_node_ready, node_info};
use crate::process::Component;
use crate::wait;

/// Key and value of the nodes' label and taint.
pub(super) const LABEL: (&str, &str) = ("lab", "simulated");
const NODES: usize = 10;
const READY_WITHIN: Duration = Duration::from_mins(1);

/// Nodes of kwok. They end with this value.
pub(super) struct SimulatedNodes {
    _kwok: Component,
}

impl SimulatedNodes {
    /// Creates the nodes and waits until they are ready.
    pub(super) async fn start(cluster: &Cluster) -> Result<Self> {
        let program = cluster.binaries().join("kwok");
        let mut kwok = kwok::start(cluster.folder(), &program, cluster.kubeconfig())?;
        let nodes: Api<Node> = Api::all(cluster.client());
        for number in 1..=NODES {
            nodes.create(&PostParams::default(), &serde_json::from_value(node(number))?).await?;
        }
        let simulated = ListParams::default().labels(&format!("{}={}", LABEL.0, LABEL.1));
        wait::until_component(&mut kwok, "simulated nodes to be ready", READY_WITHIN, || async {
            let ready = nodes.list(&simulated).await?.items.iter().filter(|node| is_node_ready(node)).count();
            ensure!(ready == NODES, "{ready} of {NODES} are ready");
            Ok(Some(()))
        })
        .await?;
        Ok(Self { _kwok: kwok })
    }
}

/// A node that starts zstd images. Its taint keeps away pods that need a real node.
fn node(number: usize) -> Value {
    let ((key, value), name) = (LABEL, format!("simulated-{number}"));
    let resources = json!({"cpu": "32", "memory": "256Gi", "pods": "110"});
    json!({
        "metadata": {
            "name": name, "annotations": {NODE_ANNOTATION: "fake"},
            "labels": {
                key: value, "kubernetes.io/hostname": name, "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
            },
        },
        "spec": {"taints": [{"key": key, "value": value, "effect": "NoSchedule"}]},
        "status": {
            "allocatable": resources, "capacity": resources,
            "nodeInfo": node_info("linux", "amd64", "containerd://2.1.6"),
        },
    })
}

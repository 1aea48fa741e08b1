//! kwok, which takes the kubelets' part: it reports nodes ready, and the pods of those nodes running.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::ports::free_ports;
use crate::process::Component;

/// Annotation of the nodes that kwok manages; the value is `fake`.
pub const NODE_ANNOTATION: &str = "kwok.x-k8s.io/node";
/// Conditions of a ready node. Platform and runtime stay as the test created them.
const NODE_STATUS: &str = r#"
conditions:
- type: Ready
  status: "True"
  reason: KubeletReady
  message: simulated
  lastHeartbeatTime: {{ Now | Quote }}
  lastTransitionTime: {{ Now | Quote }}
"#;
/// Status of a running pod.
const POD_STATUS: &str = r#"
phase: Running
startTime: {{ Now | Quote }}
conditions:
- type: Ready
  status: "True"
  lastTransitionTime: {{ Now | Quote }}
"#;

/// Starts kwok. It has no stages of its own since version 0.8.
pub(crate) fn start(folder: &Path, program: &Path, kubeconfig: &Path) -> Result<Component> {
    let ready = ".status.conditions.[] | select( .type == \"Ready\" ) | .status";
    let stages = [
        stage("node-ready", "Node", ready, "True", NODE_STATUS),
        stage("pod-running", "Pod", ".status.phase", "Running", POD_STATUS),
    ];
    let config = folder.join("kwok.yaml");
    fs::write(&config, stages.map(|stage| stage.to_string()).join("\n---\n"))
        .with_context(|| format!("failed to write {}", config.display()))?;
    let [port] = free_ports()?;
    Component::start("kwok", folder, program, |command| {
        command
            // kwok also reads a configuration in the home folder.
            .env("HOME", folder)
            .arg(format!("--config={}", config.display()))
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--manage-nodes-with-annotation-selector={NODE_ANNOTATION}=fake"))
            .args(["--manage-all-nodes=false", "--node-ip=10.64.0.1", "--cidr=10.64.0.1/16"])
            .arg(format!("--server-address=127.0.0.1:{port}"))
    })
}

/// Stage that writes `status` to each object whose field `key` isn't `done`.
fn stage(name: &str, kind: &str, key: &str, done: &str, status: &str) -> Value {
    json!({
        "apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": kind},
            "selector": {"matchExpressions": [{"key": key, "operator": "NotIn", "values": [done]}]},
            "next": {"statusTemplate": status},
        },
    })
}

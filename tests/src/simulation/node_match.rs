//! Nodes that a pod may be scheduled to, by the scheduler's own library (`tests/tools/node-match`).

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::json;

use crate::process::answer;
use crate::tools::{self, Tool};

/// Returns for each pod the indexes of the nodes whose labels and taints admit the pod. A pod with `nodeName` has
/// that node only.
pub async fn nodes_of(pods: &[Pod], nodes: &[Node]) -> Result<Vec<Vec<usize>>> {
    let program = tools::find(Tool::NodeMatch).await?;
    let input = serde_json::to_vec(&json!({"nodes": nodes, "pods": pods}))?;
    let output = tokio::task::spawn_blocking(move || answer(&program, &input)).await??;
    let matches: Vec<Vec<usize>> = serde_json::from_slice(&output)?;
    ensure!(matches.len() == pods.len(), "node-match answered {} of {} pods", matches.len(), pods.len());
    Ok(matches)
}

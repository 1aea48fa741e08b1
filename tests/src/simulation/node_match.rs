//! Nodes that a pod may be scheduled to, by the scheduler's own library (`tests/tools/node-match`).

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::json;

use crate::tools::{self, Tool};

/// Returns for each pod the indexes of the nodes whose labels and taints admit the pod. A pod with `nodeName` has
/// that node only.
pub async fn nodes_of(pods: &[Pod], nodes: &[Node]) -> Result<Vec<Vec<usize>>> {
    let program = tools::find(Tool::NodeMatch).await?;
    let input = serde_json::to_vec(&json!({"nodes": nodes, "pods": pods}))?;
    let matches = tokio::task::spawn_blocking(move || -> Result<Vec<Vec<usize>>> {
        let mut child = Command::new(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("failed to start {}", program.display()))?;
        // The program reads all input before it writes. The pipe closes at the end of the statement.
        child.stdin.take().context("node-match has no standard input")?.write_all(&input)?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "node-match failed: {}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    })
    .await??;
    ensure!(matches.len() == pods.len(), "node-match answered {} of {} pods", matches.len(), pods.len());
    Ok(matches)
}

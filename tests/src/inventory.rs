//! `make inventory`: memory and processor time that the controller needs to know a large cluster.
//!
//! The API server is real and holds all objects. No conversion runs: the API server doesn't know records, so the
//! controller follows workloads and nodes, and looks at no registry.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::bench_webhook::Memory;
use crate::steps::step;

mod cluster;
mod controller;
mod objects;
mod table;

use cluster::Cluster;
use controller::MeasuredController;
pub use table::tables;

/// Goal for resident memory, in bytes.
const GOAL_MEMORY: u64 = 128 << 20;
/// Goal for the processor time of a pod's change.
const GOAL_CHANGE: Duration = Duration::from_millis(10);

/// Number of objects in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub struct Size {
    /// Image references, each of one Deployment. A sidecar's image is in all pods and counts as one more.
    #[arg(long, default_value_t = 10_000)]
    pub references: usize,
    /// Nodes, of two architectures.
    #[arg(long, default_value_t = 5_000)]
    pub nodes: usize,
    /// Pods in opted-in namespaces, in equal parts of the Deployments.
    #[arg(long, default_value_t = 50_000)]
    pub pods: usize,
    /// Changes of pods that are measured.
    #[arg(long, default_value_t = 500)]
    pub changes: usize,
}

/// Processor time of the same change of many pods.
#[derive(Clone, Debug)]
pub struct Changes {
    /// Name of the change.
    pub name: &'static str,
    /// Number of changes.
    pub count: usize,
    /// Processor time of the controller.
    pub cpu: Duration,
    /// Sources that the change notices named.
    pub named: Option<u64>,
}

/// One start of the controller.
#[derive(Clone, Debug)]
pub struct Start {
    /// Time from the start of the process until it had listed everything.
    pub ready: Duration,
    /// Processor time until then.
    pub cpu: Duration,
    /// Memory then.
    pub memory: Memory,
    /// List requests that the API server counted, by resource: a page each.
    pub lists: BTreeMap<String, u64>,
}

/// Results.
#[derive(Clone, Debug)]
pub struct Report {
    /// Size of the cluster.
    pub size: Size,
    /// The first start, and a restart.
    pub starts: [Start; 2],
    /// Changes of pods.
    pub changes: Vec<Changes>,
    /// Sources in demand at the end.
    pub sources: Option<u64>,
    /// Memory at the end.
    pub memory: Memory,
}

/// Measures the program `controller` in a cluster of this size.
pub async fn run(controller: &Path, size: Size) -> Result<Report> {
    ensure!(controller.is_file(), "the program {} is missing: run `make inventory`", controller.display());
    let cluster = step("starting an API server", Cluster::start()).await?;
    let what = format!(
        "writing {} Deployments, {} pods and {} nodes to the API server",
        size.references, size.pods, size.nodes
    );
    step(&what, cluster.fill(size)).await?;
    let first = step("starting the controller", async {
        Ok(MeasuredController::start(controller, &cluster).await?.start.clone())
    })
    .await?;
    let restarted =
        step("restarting the controller", MeasuredController::start(controller, &cluster)).await?;
    let mut changes = Vec::new();
    let what = format!("changing {} pods in three ways", size.changes);
    step(&what, async {
        changes.push(restarted.measure("status of a pod", size.changes, cluster.report_running(size)).await?);
        changes
            .push(restarted.measure("new pod of a Deployment", size.changes, cluster.add_pods(size)).await?);
        changes
            .push(restarted.measure("pod with a new image", size.changes, cluster.add_images(size)).await?);
        Ok(())
    })
    .await?;
    Ok(Report {
        size,
        starts: [first, restarted.start.clone()],
        changes,
        sources: restarted.sources().await?,
        memory: restarted.memory()?,
    })
}

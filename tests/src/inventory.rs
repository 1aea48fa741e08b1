//! `make inventory`: memory and processor time that the controller needs to know a large cluster.
//!
//! API server and registry are real, and hold all objects and tags. No conversion runs: the images are zstd already.

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
/// Goal for the first look at all tags after a start: the webhook's default `maxStaleness`.
const GOAL_PASS: Duration = Duration::from_mins(15);

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
    /// Seconds between two looks at a tag, after a restart.
    #[arg(long, default_value_t = 300)]
    pub recheck_seconds: u64,
    /// Seconds for which the controller is measured without changes.
    #[arg(long, default_value_t = 120)]
    pub steady_seconds: u64,
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
    /// List requests that the API server counted until then, by resource: a page each.
    pub lists: BTreeMap<String, u64>,
    /// Time from the start until every tag was looked at.
    pub confirmed: Duration,
}

/// Work while nothing changes but the time.
#[derive(Clone, Debug)]
pub struct Steady {
    /// Time of the measurement.
    pub time: Duration,
    /// Processor time of the controller.
    pub cpu: Duration,
    /// Writes of records and their statuses.
    pub record_writes: u64,
    /// Writes of the freshness sweep.
    pub sweep_writes: u64,
}

/// Results.
#[derive(Clone, Debug)]
pub struct Report {
    /// Size of the cluster.
    pub size: Size,
    /// The first start, a restart, and a restart without the freshness sweep.
    pub starts: [Start; 3],
    /// Looks at all tags, each five minutes.
    pub steady: Steady,
    /// Changes of pods.
    pub changes: Vec<Changes>,
    /// Sources in demand at the end.
    pub sources: Option<u64>,
    /// Memory at the end.
    pub memory: Memory,
}

/// Measures the program `controller` in a cluster of this size.
pub async fn run(controller_program: &Path, size: Size) -> Result<Report> {
    let missing = || format!("the program {} is missing: run `make inventory`", controller_program.display());
    ensure!(controller_program.is_file(), missing());
    let cluster = step("starting an API server and a registry", Cluster::start()).await?;
    step(&format!("pushing {} tags", size.references + 1), cluster.push(size)).await?;
    let what = format!(
        "writing {} Deployments, {} pods and {} nodes to the API server",
        size.references, size.pods, size.nodes
    );
    step(&what, cluster.fill(size)).await?;
    let all = size.references + 1;
    // No look is due while the changes are measured.
    let quiet = "recheckInterval: 10h\n";
    let what = "starting the controller, and waiting until it has looked at all tags";
    let controller = step(what, MeasuredController::start(controller_program, &cluster, quiet, all)).await?;
    let mut changes = Vec::new();
    let what = format!("changing {} pods in three ways", size.changes);
    step(&what, async {
        controller.settle().await?;
        changes
            .push(controller.measure("status of a pod", size.changes, cluster.report_running(size)).await?);
        changes
            .push(controller.measure("new pod of a Deployment", size.changes, cluster.add_pods(size)).await?);
        changes
            .push(controller.measure("pod with a new image", size.changes, cluster.add_images(size)).await?);
        Ok(())
    })
    .await?;
    let (sources, memory, first) =
        (controller.sources().await?, controller.memory()?, controller.start.clone());
    drop(controller);
    cluster.forget_leader().await?;
    let recheck = format!("recheckInterval: {}s\n", size.recheck_seconds);
    let what = "restarting the controller, and waiting until it has looked at all tags";
    let controller =
        step(what, MeasuredController::start(controller_program, &cluster, &recheck, all)).await?;
    let steady = Duration::from_secs(size.steady_seconds);
    let what = format!("measuring for {} s without changes", size.steady_seconds);
    let steady = step(&what, controller.measure_steady(&cluster, steady)).await?;
    let restarted = controller.start.clone();
    drop(controller);
    cluster.forget_leader().await?;
    cluster.forget_sweep().await?;
    let what = "restarting the controller without the freshness sweep, and waiting again";
    let controller =
        step(what, MeasuredController::start(controller_program, &cluster, &recheck, all)).await?;
    let starts = [first, restarted, controller.start.clone()];
    Ok(Report { size, starts, steady, changes, sources, memory })
}

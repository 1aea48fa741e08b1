//! `make soak`: restarts, upgrades and drains of the webhook and a rotation of its certificate, on a real cluster
//! with two nodes while pods are created at all times. No pod may be refused or keep its image.
//!
//! The pods' nodes are simulated by kwok: a real node can't start dozens of pods a second.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use http::Request;

use self::nodes::SimulatedNodes;
use self::pods::Pods;
use self::webhook::{REPLICAS, Webhook};
use crate::cluster::{Cluster, built_binaries};
use crate::pod_load::PodLoad;
use crate::steps::{print_below, print_block, step};

mod nodes;
mod pods;
mod webhook;

/// Most log lines in an error message.
const MAX_LOG_LINES: usize = 20;
/// A setting of the chart that differs from the default, and that the webhook reads when it starts.
const CHANGED: &str = "webhook.maxStaleness=20m";

/// Processor time that each replica requests, ten times the chart's default. In the lab, API server, etcd and all
/// other programs of the machine compete with the pods, and each of them has the weight of 1000m.
const PROCESSOR: &str = "webhook.resources.requests.cpu=500m";

/// Length and rate of a soak.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Number of rolling restarts.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rollouts: u32,
    /// Pods a second, without the bursts: ten more pods every 40 pods.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    rate: u32,
    /// Folder with the programs zstart-controller and zstart-webhook (default: the folder of this program).
    #[arg(long, value_name = "FOLDER")]
    binaries: Option<PathBuf>,
}

/// Runs a soak, and prints for each phase how many pods were created, admitted and rewritten.
pub async fn run(mut cluster: Cluster, options: Options) -> Result<()> {
    let second = step("joining a second node", cluster.join_node()).await?;
    let _nodes = step("starting simulated nodes for the pods", SimulatedNodes::start(&cluster)).await?;
    let install = async {
        let built = options
            .binaries
            .clone()
            .map_or_else(built_binaries, |folder| Ok(std::path::absolute(folder)?))?;
        cluster.push_zstart_images(&built)?;
        cluster.install_zstart(&[PROCESSOR]).map(drop)
    };
    step("building zstart's images and installing zstart with helm", install).await?;
    let webhook = Webhook::new(&cluster);
    let replicas = webhook.settled().await?;
    for replica in &replicas {
        print_below(&format!("{} runs on {}", replica.name, replica.node));
    }
    let pods = step("converting the pods' image", Pods::start(&cluster)).await?;
    let variant = pods.variant().to_owned();

    // Pods that were created before the load began don't count.
    let failed_before = failed_open(&cluster).await?;
    if failed_before > 0 {
        print_below(&failures(&cluster));
    }
    let load = PodLoad::start(options.rate, &variant, "rolling restarts", pods.creator());
    let phases = phases(&webhook, &load, &second, &options).await;
    // The fate of the pods is worth more than the end of the phases.
    let report = load.finish().await?;
    let kept = pods.finish().await;
    print_block(&report.table());
    print_below(&format!(
        "reviews that failed open, by the API server's count: {}",
        failed_open(&cluster).await?
    ));
    report.require_all_rewritten().with_context(|| failures(&cluster))?;
    phases?;
    kept
}

async fn phases(webhook: &Webhook<'_>, load: &PodLoad, second: &str, options: &Options) -> Result<()> {
    let Options { rollouts, rate, .. } = *options;
    // Pods of about five seconds with the state that a phase leaves.
    let settle = async || load.wait_for(5 * rate as usize).await;
    settle().await?;
    for rollout in 1..=rollouts {
        step(&format!("rolling restart {rollout} of {rollouts}"), webhook.restart()).await?;
    }
    settle().await?;

    // First, so that the connections to all later replicas verify the new certificate.
    load.enter("certificate rotation");
    step("deleting the serving certificate", webhook.rotate_certificate()).await?;
    settle().await?;

    load.enter("helm upgrade");
    step("helm upgrade", webhook.replace(|cluster| cluster.upgrade_zstart(&[PROCESSOR, CHANGED]))).await?;
    settle().await?;
    load.enter("helm rollback");
    step("helm rollback", webhook.replace(Cluster::roll_back_zstart)).await?;
    settle().await?;

    load.enter("node drain");
    let replicas = webhook.settled().await?;
    let on_second = replicas.iter().filter(|replica| replica.node == second).count();
    ensure!(on_second > 0 && on_second < REPLICAS, "no two nodes run a replica each: {replicas:?}");
    step(&format!("draining node {second}"), webhook.drain(second)).await?;
    settle().await
}

/// Number of reviews after which the API server admitted a pod without an answer.
async fn failed_open(cluster: &Cluster) -> Result<u64> {
    let metrics = cluster.client().request_text(Request::get("/metrics").body(Vec::new())?).await?;
    let lines =
        metrics.lines().filter(|line| line.starts_with("apiserver_admission_webhook_fail_open_count{"));
    lines.filter_map(|line| line.rsplit(' ').next()).map(|count| Ok(count.parse::<u64>()?)).sum()
}

/// The API server's log lines about failed reviews.
fn failures(cluster: &Cluster) -> String {
    let log = std::fs::read(cluster.folder().join("kube-apiserver.log")).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("failed calling webhook")).collect();
    let shown = lines[lines.len().saturating_sub(MAX_LOG_LINES)..].join("\n  ");
    format!("the API server logged {} failed reviews:\n  {shown}", lines.len())
}

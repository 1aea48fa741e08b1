//! One random cluster with random pods, from the first node to the table.

use std::collections::{BTreeMap, BTreeSet};
use std::slice;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Node as ApiNode, Pod};
use kube::ResourceExt as _;
use serde_json::Value;
use zstart_tests::simulation::{WebhookProcess, node_match, node_name};

use crate::cluster::Cluster;
use crate::judge::Trial;
use crate::nodes::{Fleet, Node};
use crate::pods::{self, Draft};
use crate::random::Random;
use crate::report::Report;

/// Most violations in an error message.
const SHOWN: usize = 20;

/// Numbers of objects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) nodes: usize,
    pub(crate) pods: usize,
}

/// Runs one trial and prints its table.
#[expect(clippy::print_stdout, reason = "the table is a result of the test")]
pub(crate) async fn run(seed: u64, size: Size) -> Result<()> {
    println!("==> ZSTART_SEED={seed}: {} nodes, {} pods", size.nodes, size.pods);
    try_run(seed, size).await.with_context(|| format!("repeat this with ZSTART_SEED={seed}"))
}

#[expect(clippy::print_stdout, reason = "the table is a result of the test")]
async fn try_run(seed: u64, size: Size) -> Result<()> {
    let started = Instant::now();
    let mut random = Random::seeded(seed);
    let fleet = Fleet::random(&mut random, size.nodes);
    let (last, first) = fleet.nodes.split_last().context("no node")?;
    let mut cluster = Cluster::start().await?;
    cluster.create_nodes(first).await?;
    // kwok writes a node's whole status once, before it is ready.
    cluster.simulation.wait_until_ready(first.len()).await?;
    cluster.update_nodes(first).await?;
    cluster.create_nodes(slice::from_ref(last)).await?;
    cluster.create_records().await?;
    cluster.wait_until_known(last).await?;
    cluster.wait_until_ready(&fleet.nodes).await?;

    let drafts = pods::drafts(&mut random, size.pods, &fleet, &cluster.owners);
    let created = cluster.create_pods(&drafts).await?;
    let mut names: BTreeSet<&str> = fleet.nodes.iter().map(|node| &*node.name).collect();
    cluster.simulation.wait_until_settled(&names).await?;
    // Pods that wait may now be scheduled to nodes that weren't ready or were cordoned, and to new nodes. New
    // nodes are last: the scheduler then knows the other changes too.
    cluster.settle_nodes(&fleet.nodes).await?;
    cluster.create_nodes(&fleet.late).await?;
    names.extend(fleet.late.iter().map(|node| &*node.name));
    let settled = cluster.simulation.wait_until_settled(&names).await?;
    let bound = settled.iter().filter(|pod| node_name(pod).is_some()).count();
    println!("{bound} pods have a node after {} s", started.elapsed().as_secs());

    let possible = possible_nodes(&fleet, &created).await?;
    let report = judge(&cluster, &fleet, &drafts, &created, &settled, possible)?;
    print!("{report}");
    let Report { rewritten, violations, .. } = report;
    let shown = violations.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("\n  ");
    ensure!(violations.is_empty(), "{} violations:\n  {shown}", violations.len());
    ensure!(rewritten > 0, "no image was rewritten");
    Ok(())
}

/// Nodes of each pod by the scheduler's rules for labels and taints, after every passing taint ended. Nodes that
/// joined later are left out: the webhook decides for the nodes that exist.
async fn possible_nodes<'a>(fleet: &'a Fleet, created: &[Value]) -> Result<Vec<Vec<&'a Node>>> {
    let nodes = fleet.nodes.iter().map(|node| serde_json::from_value(node.settled_object()));
    let nodes: Vec<ApiNode> = nodes.collect::<Result<_, _>>()?;
    let pods = created.iter().map(|pod| serde_json::from_value(pod.clone()));
    let pods: Vec<Pod> = pods.collect::<Result<_, _>>()?;
    let possible = node_match::nodes_of(&pods, &nodes).await?;
    let named =
        |indexes: Vec<usize>| indexes.into_iter().filter_map(|index| fleet.nodes.get(index)).collect();
    Ok(possible.into_iter().map(named).collect())
}

fn judge(
    cluster: &Cluster,
    fleet: &Fleet,
    drafts: &[Draft],
    created: &[Value],
    settled: &[Pod],
    possible: Vec<Vec<&Node>>,
) -> Result<Report> {
    let decisions = cluster.simulation.audit_annotations(WebhookProcess::DECISIONS)?;
    let settled: BTreeMap<String, &Pod> = settled.iter().map(|pod| (pod.name_any(), pod)).collect();
    let mut report = Report::default();
    for ((draft, created), possible) in drafts.iter().zip(created).zip(possible) {
        let settled = settled.get(&draft.name).with_context(|| format!("{} vanished", draft.name))?;
        let decisions = decisions.get(&draft.name).map(String::as_str);
        let trial = Trial { draft, created, settled, decisions, possible };
        for verdict in trial.judge(fleet)? {
            report.add(verdict);
        }
    }
    Ok(report)
}

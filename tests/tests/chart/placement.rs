//! Nodes that the real scheduler chooses for the webhook's replicas.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use zstart_tests::chart::{Helm, NAMESPACE, find};
use zstart_tests::simulation::{NODE_ANNOTATION, Simulation, node_name};

const ZONE: &str = "topology.kubernetes.io/zone";

/// Name, processors and zone of a node. The scheduler prefers the nodes with more processors for each single pod.
type Size = (&'static str, &'static str, Option<&'static str>);

fn node((name, processors, zone): Size) -> Value {
    let resources = json!({"cpu": processors, "memory": "64Gi", "pods": "110"});
    let mut labels = json!({
        "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
    });
    if let Some(zone) = zone {
        labels[ZONE] = json!(zone);
    }
    json!({
        "metadata": {"name": name, "labels": labels, "annotations": {NODE_ANNOTATION: "fake"}},
        "status": {"allocatable": resources, "capacity": resources},
    })
}

/// Nodes of the chart's two replicas in a cluster with these nodes.
async fn nodes_of_replicas(sizes: &[Size]) -> Result<Vec<String>> {
    let mut simulation = Simulation::start().await?;
    let client = simulation.client();
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE}}))?;
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    let nodes: Api<Node> = Api::all(client.clone());
    for size in sizes {
        nodes.create(&PostParams::default(), &serde_json::from_value(node(*size))?).await?;
    }
    simulation.wait_until_ready(sizes.len()).await?;

    let objects = Helm::find().await?.render("zstart", &[]).await?;
    let template = &find(&objects, "Deployment", "zstart-webhook")?["spec"]["template"];
    let mut pod = json!({"metadata": template["metadata"], "spec": template["spec"]});
    // The Deployment's controller adds this label.
    pod["metadata"]["labels"]["pod-template-hash"] = json!("1");
    pod["metadata"]["generateName"] = json!("zstart-webhook-");
    let pod: Pod = serde_json::from_value(pod)?;
    let pods: Api<Pod> = Api::namespaced(client, NAMESPACE);
    for _ in 0..2 {
        pods.create(&PostParams::default(), &pod).await?;
    }
    let names: BTreeSet<&str> = sizes.iter().map(|(name, ..)| *name).collect();
    let settled = simulation.wait_until_settled(&names).await?;
    settled.iter().map(|pod| node_name(pod).map(str::to_owned).context("a pod has no node")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_get_two_nodes_in_a_cluster_without_zones() -> Result<()> {
    let mut nodes = nodes_of_replicas(&[("large", "32", None), ("small", "500m", None)]).await?;
    nodes.sort();
    assert_eq!(nodes, ["large", "small"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_get_two_zones_before_two_larger_nodes() -> Result<()> {
    let sizes = [("large-1", "32", Some("a")), ("large-2", "32", Some("a")), ("small", "500m", Some("b"))];
    let zones: BTreeMap<&str, Option<&str>> = sizes.iter().map(|(name, _, zone)| (*name, *zone)).collect();
    let nodes = nodes_of_replicas(&sizes).await?;
    let used: BTreeSet<_> = nodes.iter().map(|node| zones[node.as_str()]).collect();
    assert_eq!(used.len(), 2, "{nodes:?}");
    Ok(())
}

use kube::runtime::watcher::Event;

use super::*;
use crate::fixture::{Cluster, node, parse, record};

#[test]
fn snapshot_is_synced_after_every_first_list() {
    let snapshot = Snapshot::default();
    snapshot.apply_namespace(Event::InitDone);
    snapshot.apply_record(Event::InitDone);
    assert!(!snapshot.is_synced());
    snapshot.apply_sweep(Event::InitDone);
    snapshot.apply_node(Event::InitDone);
    snapshot.apply_replica_set(Event::InitDone);
    assert!(!snapshot.is_synced());
    snapshot.apply_revision(Event::InitDone);
    snapshot.apply_hold(Event::InitDone);
    assert!(snapshot.is_synced());
}

#[test]
fn namespace_without_the_label_is_opted_out() {
    let cluster = Cluster::empty();
    let view = NamespaceView { mode: Mode::Enabled, requires_signature: false };
    assert_eq!(cluster.snapshot.namespace("on"), Some(view));
    let bare = parse(serde_json::json!({"metadata": {"name": "on"}}));
    cluster.snapshot.apply_namespace(Event::Apply(bare));
    assert_eq!(cluster.snapshot.namespace("on"), None);
}

#[test]
fn record_lookup_normalises_the_source() {
    let cluster = Cluster::with_records(&["nginx"]);
    let sizes = Sizes { namespaces: 2, records: 1, nodes: 1, node_classes: 1, revisions: 0, holds: 0 };
    assert_eq!(cluster.snapshot.sizes(), sizes);
    assert!(cluster.snapshot.record(&"index.docker.io/library/nginx:latest".parse().unwrap()).is_some());
    cluster.snapshot.apply_record(Event::Delete(parse(record("nginx"))));
    assert!(cluster.snapshot.record(&"nginx".parse().unwrap()).is_none());
}

#[test]
fn relist_of_nodes_replaces_them_at_its_end() {
    let cluster = Cluster::with_records(&[]);
    let snapshot = &cluster.snapshot;
    snapshot.apply_node(Event::Init);
    snapshot.apply_node(Event::InitApply(parse(node("b", "arm64"))));
    assert_eq!(snapshot.sizes().nodes, 1);
    snapshot.apply_node(Event::InitApply(parse(node("c", "arm64"))));
    snapshot.apply_node(Event::InitDone);
    assert_eq!((snapshot.sizes().nodes, snapshot.sizes().node_classes), (2, 1));
    snapshot.apply_node(Event::Delete(parse(node("b", "arm64"))));
    snapshot.apply_node(Event::Delete(parse(node("c", "arm64"))));
    assert!(snapshot.nodes().is_empty());
}

/// Hold of the node `a`, whose runtime failed to unpack a zstd layer.
fn node_hold(runtime: &str) -> serde_json::Value {
    let owner = serde_json::json!({"apiVersion": "v1", "kind": "Node", "name": "a", "uid": "1"});
    serde_json::json!({
        "apiVersion": "zstart.dev/v1alpha1", "kind": "OwnerHold",
        "metadata": {"name": "node-a", "namespace": "zstart-system"},
        "spec": {"owner": owner, "template": runtime, "reason": "ZstdNotUnpacked", "message": ""},
    })
}

#[test]
fn node_on_hold_counts_as_unsupported() {
    let supported = |cluster: &Cluster| {
        let runtime = cluster.snapshot.nodes().get("a").and_then(|node| node.runtime);
        runtime.is_some_and(|runtime| cluster.policy.runtimes.include(&runtime))
    };
    let cluster = Cluster::with_records(&[]).with_node(node("b", "amd64"));
    assert_eq!(cluster.snapshot.sizes().node_classes, 1);
    let hold = node_hold("containerd://2.1.6");
    cluster.snapshot.apply_hold(Event::Apply(parse(hold.clone())));
    assert!(!supported(&cluster));
    assert_eq!(cluster.snapshot.sizes().node_classes, 2);
    // The kubelet reports again, and the nodes are listed again.
    cluster.snapshot.apply_node(Event::Apply(parse(node("a", "amd64"))));
    assert!(!supported(&cluster));
    for event in [Event::Init, Event::InitApply(parse(node("a", "amd64"))), Event::InitDone] {
        cluster.snapshot.apply_node(event);
    }
    assert!(!supported(&cluster));
    // Another runtime is free at once.
    let mut upgraded = node("a", "amd64");
    upgraded["status"]["nodeInfo"]["containerRuntimeVersion"] = "containerd://2.1.7".into();
    cluster.snapshot.apply_node(Event::Apply(parse(upgraded)));
    assert!(supported(&cluster));
    cluster.snapshot.apply_node(Event::Apply(parse(node("a", "amd64"))));
    cluster.snapshot.apply_hold(Event::Delete(parse(hold)));
    assert!(supported(&cluster));
}

#[test]
fn hold_of_another_kind_marks_no_node() {
    let cluster = Cluster::with_records(&[]);
    for (member, value) in [("reason", "ImagePatchedBack"), ("template", "containerd://1.7.0")] {
        let mut hold = node_hold("containerd://2.1.6");
        hold["spec"][member] = value.into();
        cluster.snapshot.apply_hold(Event::Apply(parse(hold)));
        let runtime = cluster.snapshot.nodes().get("a").and_then(|node| node.runtime);
        assert!(runtime.is_some_and(|runtime| cluster.policy.runtimes.include(&runtime)), "{member}");
    }
}

#[test]
fn template_time_follows_the_replica_set() {
    let cluster = Cluster::empty();
    let pod = parse(serde_json::json!({"metadata": {"ownerReferences": [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "app-1", "uid": "1", "controller": true},
    ]}}));
    assert_eq!(cluster.snapshot.template_time(&pod, "on"), TemplateTime::Newest);
    let created = "2026-11-23T12:00:00Z";
    let replica_set = serde_json::json!({"metadata": {
        "name": "app-1", "namespace": "on", "creationTimestamp": created,
    }});
    cluster.snapshot.apply_replica_set(Event::Apply(parse(replica_set.clone())));
    assert_eq!(cluster.snapshot.template_time(&pod, "on"), TemplateTime::At(created.parse().unwrap()));
    cluster.snapshot.apply_replica_set(Event::Delete(parse(replica_set)));
    assert_eq!(cluster.snapshot.template_time(&pod, "on"), TemplateTime::Newest);
}

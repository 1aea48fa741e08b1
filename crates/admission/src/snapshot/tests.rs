use kube::runtime::watcher::Event;

use super::*;
use crate::fixture::{Cluster, node, parse, record};

#[test]
fn snapshot_is_synced_after_every_first_list() {
    let snapshot = Snapshot::default();
    snapshot.apply_namespace(Event::InitDone);
    snapshot.apply_record(Event::InitDone);
    assert!(!snapshot.is_synced());
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

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
    assert!(snapshot.is_synced());
}

#[test]
fn namespace_without_the_label_is_opted_out() {
    let cluster = Cluster::empty();
    assert_eq!(cluster.snapshot.mode("on"), Some(Mode::Enabled));
    let bare = parse(serde_json::json!({"metadata": {"name": "on"}}));
    cluster.snapshot.apply_namespace(Event::Apply(bare));
    assert_eq!(cluster.snapshot.mode("on"), None);
}

#[test]
fn record_lookup_normalises_the_source() {
    let cluster = Cluster::with_records(&["nginx"]);
    let sizes = Sizes { namespaces: 2, records: 1, nodes: 1 };
    assert_eq!(cluster.snapshot.sizes(), sizes);
    assert!(cluster.snapshot.record(&"index.docker.io/library/nginx:latest".parse().unwrap()).is_some());
    cluster.snapshot.apply_record(Event::Delete(parse(record("nginx"))));
    assert!(cluster.snapshot.record(&"nginx".parse().unwrap()).is_none());
}

#[test]
fn deleted_node_is_no_candidate() {
    let cluster = Cluster::with_records(&[]);
    let spec = parse(serde_json::json!({"containers": []}));
    assert_ne!(cluster.snapshot.candidate_nodes(&Placement::of(&spec)), CandidateNodes::None);
    cluster.snapshot.apply_node(Event::Delete(parse(node("a", "amd64"))));
    assert_eq!(cluster.snapshot.candidate_nodes(&Placement::of(&spec)), CandidateNodes::None);
}

use kube::runtime::watcher::Event;

use super::*;
use crate::fixture::{Cluster, node, parse, record};

#[test]
fn a_snapshot_is_synced_when_every_kind_is() {
    let snapshot = Snapshot::default();
    snapshot.apply_namespace(Event::InitDone);
    snapshot.apply_record(Event::InitDone);
    assert!(!snapshot.is_synced());
    snapshot.apply_node(Event::InitDone);
    assert!(snapshot.is_synced());
}

#[test]
fn a_namespace_that_loses_its_label_is_no_longer_opted_in() {
    let cluster = Cluster::empty();
    assert_eq!(cluster.snapshot.mode("on"), Some(Mode::Enabled));
    let bare = parse(serde_json::json!({"metadata": {"name": "on"}}));
    cluster.snapshot.apply_namespace(Event::Apply(bare));
    assert_eq!(cluster.snapshot.mode("on"), None);
}

#[test]
fn a_record_is_found_by_every_way_of_writing_its_source_and_is_gone_when_deleted() {
    let cluster = Cluster::with_records(&["nginx"]);
    let sizes = Sizes { namespaces: 2, records: 1, nodes: 1 };
    assert_eq!(cluster.snapshot.sizes(), sizes);
    assert!(cluster.snapshot.record(&"index.docker.io/library/nginx:latest".parse().unwrap()).is_some());
    cluster.snapshot.apply_record(Event::Delete(parse(record("nginx"))));
    assert!(cluster.snapshot.record(&"nginx".parse().unwrap()).is_none());
}

#[test]
fn a_node_that_goes_is_no_candidate() {
    let cluster = Cluster::with_records(&[]);
    let spec = parse(serde_json::json!({"containers": []}));
    assert_ne!(cluster.snapshot.candidate_nodes(&Placement::of(&spec)), CandidateNodes::None);
    cluster.snapshot.apply_node(Event::Delete(parse(node("a", "amd64"))));
    assert_eq!(cluster.snapshot.candidate_nodes(&Placement::of(&spec)), CandidateNodes::None);
}

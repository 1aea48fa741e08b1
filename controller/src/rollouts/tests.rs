use serde_json::{Value, json};
use zstart_core::Digest;

use super::*;

fn start() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn variant(name: &str) -> String {
    let digest = Digest::sha256_of(name.as_bytes());
    format!("r.example/{name}:v1-zstd-{}-01234567@{digest}", digest.short())
}

/// Rewritten pod of the `ReplicaSet` `web-HASH`.
fn pod(name: &str, hash: &str, created: &str) -> Value {
    let originals = json!({"containers/app": "r.example/app:v1", "containers/side": "r.example/app:v1"});
    json!({
        "metadata": {
            "name": name, "namespace": "shop", "uid": name, "creationTimestamp": created,
            "labels": {"pod-template-hash": hash}, "annotations": {keys::ORIGINALS: originals.to_string()},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("web-{hash}"),
                "uid": hash, "controller": true}],
        },
        "spec": {"containers": [{"name": "app", "image": variant("app")}, {"name": "side", "image": variant("app")}]},
    })
}

fn leader() -> State {
    State { since: Some(start()), ..State::default() }
}

fn observe(state: &mut State, pod: Value) -> bool {
    state.observe(&serde_json::from_value(pod).unwrap())
}

const NEW: &str = "2026-01-01T12:00:00Z";

#[test]
fn template_version_is_announced_once_per_variant() {
    let mut state = leader();
    assert!(observe(&mut state, pod("one", "aaa", NEW)));
    assert!(!observe(&mut state, pod("one", "aaa", NEW)) && !observe(&mut state, pod("two", "aaa", NEW)));
    assert!(observe(&mut state, pod("three", "bbb", NEW)), "another version");
    let mut moved = pod("four", "bbb", NEW);
    for container in moved["spec"]["containers"].as_array_mut().unwrap() {
        container["image"] = json!(variant("app2"));
    }
    assert!(observe(&mut state, moved), "another variant");
    let templates: Vec<&str> = state.waiting.iter().map(|used| &*used.template).collect();
    let (first, second) = ("pod-template-hash=aaa", "pod-template-hash=bbb");
    assert_eq!(templates, [first, second, second]);
    assert_eq!(state.waiting[0].variant, variant("app"));
}

#[test]
fn earlier_and_unchanged_pods_announce_nothing() {
    let mut plain = pod("plain", "aaa", NEW);
    plain["metadata"]["annotations"] = json!({});
    let mut put_back = pod("back", "aaa", NEW);
    for container in put_back["spec"]["containers"].as_array_mut().unwrap() {
        container["image"] = json!("r.example/app:v1");
    }
    let mut bare = pod("bare", "aaa", NEW);
    bare["metadata"]["ownerReferences"] = json!([]);
    let mut state = leader();
    for pod in [plain, put_back, bare, pod("old", "aaa", "2026-01-01T11:59:59Z")] {
        assert!(!observe(&mut state, pod));
    }
    let mut standby = State::default();
    assert!(!observe(&mut standby, pod("one", "aaa", NEW)), "a replica that stands by queues nothing");
}

#[test]
fn full_queue_drops_what_a_later_pod_repeats() {
    let mut state = leader();
    for number in 0..=MAX_WAITING {
        observe(&mut state, pod("x", &format!("h{number}"), NEW));
    }
    assert_eq!(state.waiting.len(), MAX_WAITING);
    state.waiting.pop_front();
    assert!(observe(&mut state, pod("y", &format!("h{MAX_WAITING}"), NEW)));
}

use serde_json::{Value, json};

use super::*;
use crate::eligibility::runtime::Runtime;
use crate::eligibility::taint::Taint;
use crate::eligibility::{Node, NodeSet};

fn node(name: &str, change: impl FnOnce(&mut Node)) -> Node {
    let labels = [("kubernetes.io/arch", "amd64"), ("zone", "a"), ("size", "7")];
    let mut node = Node {
        name: name.to_owned(),
        labels: labels.map(|(label, value)| (label.to_owned(), value.to_owned())).into(),
        taints: Vec::new(),
        platform: Some(Platform::new("linux", "amd64")),
        runtime: Some(Runtime::new("containerd://2.1.6")),
    };
    change(&mut node);
    node
}

fn spec(value: &Value) -> PodSpec {
    let mut whole = json!({"containers": []});
    for (key, value) in value.as_object().unwrap() {
        whole[key] = value.clone();
    }
    serde_json::from_value(whole).unwrap()
}

fn affinity(terms: &Value) -> PodSpec {
    spec(&json!({"affinity": {"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms},
    }}}))
}

fn allows(spec: &PodSpec, node: &Node) -> bool {
    let mut nodes = NodeSet::default();
    nodes.insert(node.clone());
    !nodes.candidates(&Placement::of(spec)).is_empty()
}

#[test]
fn unconstrained_pod_matches_any_node() {
    assert!(allows(&spec(&json!({})), &node("a", |_| {})));
}

#[test]
fn node_name_overrides_taints_and_selector() {
    let spec = spec(&json!({"nodeName": "a", "nodeSelector": {"zone": "b"}}));
    let tainted = node("a", |node| node.taints = taints(json!([{"key": "x", "effect": "NoSchedule"}])));
    assert!(allows(&spec, &tainted));
    assert!(!allows(&spec, &node("b", |_| {})));
}

#[test]
fn node_selector_requires_every_label() {
    assert!(allows(&spec(&json!({"nodeSelector": {"zone": "a", "size": "7"}})), &node("a", |_| {})));
    assert!(!allows(&spec(&json!({"nodeSelector": {"zone": "a", "size": "8"}})), &node("a", |_| {})));
}

#[test]
fn affinity_operators_match_as_the_scheduler_does() {
    let cases = [
        (json!({"key": "zone", "operator": "In", "values": ["b", "a"]}), true),
        (json!({"key": "zone", "operator": "In", "values": ["b"]}), false),
        (json!({"key": "gone", "operator": "In", "values": ["b"]}), false),
        (json!({"key": "zone", "operator": "NotIn", "values": ["b"]}), true),
        (json!({"key": "zone", "operator": "NotIn", "values": ["a"]}), false),
        (json!({"key": "gone", "operator": "NotIn", "values": ["a"]}), true),
        (json!({"key": "zone", "operator": "Exists"}), true),
        (json!({"key": "gone", "operator": "Exists"}), false),
        (json!({"key": "zone", "operator": "DoesNotExist"}), false),
        (json!({"key": "gone", "operator": "DoesNotExist"}), true),
        (json!({"key": "size", "operator": "Gt", "values": ["6"]}), true),
        (json!({"key": "size", "operator": "Gt", "values": ["7"]}), false),
        (json!({"key": "size", "operator": "Lt", "values": ["8"]}), true),
        (json!({"key": "size", "operator": "Lt", "values": ["7"]}), false),
        (json!({"key": "zone", "operator": "Gt", "values": ["1"]}), false),
        (json!({"key": "gone", "operator": "Lt", "values": ["1"]}), false),
        (json!({"key": "zone", "operator": "FromTheFuture"}), true),
    ];
    for (requirement, expected) in cases {
        let spec = affinity(&json!([{"matchExpressions": [requirement]}]));
        assert_eq!(allows(&spec, &node("a", |_| {})), expected, "{requirement}");
    }
}

#[test]
fn affinity_terms_are_ored_and_requirements_anded() {
    let yes = json!({"key": "zone", "operator": "Exists"});
    let no = json!({"key": "gone", "operator": "Exists"});
    let cases = [
        (json!([{"matchExpressions": [yes, no]}]), false),
        (json!([{"matchExpressions": [no]}, {"matchExpressions": [yes]}]), true),
        (json!([]), false),
        (json!([{}]), false),
    ];
    for (terms, expected) in cases {
        assert_eq!(allows(&affinity(&terms), &node("a", |_| {})), expected, "{terms}");
    }
}

#[test]
fn daemon_set_pod_matches_its_affinity_node_only() {
    let field = json!({"key": "metadata.name", "operator": "In", "values": ["a"]});
    let spec = affinity(&json!([{"matchFields": [field]}]));
    assert!(allows(&spec, &node("a", |_| {})));
    assert!(!allows(&spec, &node("b", |_| {})));
    assert!(Placement::of(&spec).names_its_node());
}

fn taints(value: Value) -> Vec<Taint> {
    let taints: Vec<k8s_openapi::api::core::v1::Taint> = serde_json::from_value(value).unwrap();
    taints.into_iter().filter_map(Taint::lasting).collect()
}

#[test]
fn untolerated_taints_exclude_and_transient_ones_do_not() {
    let dedicated = json!([{"key": "team", "value": "a", "effect": "NoSchedule"}]);
    let cases = [
        (dedicated.clone(), json!([]), false),
        (dedicated.clone(), json!([{"operator": "Exists"}]), true),
        (dedicated.clone(), json!([{"key": "team", "operator": "Exists"}]), true),
        (dedicated.clone(), json!([{"key": "team", "value": "a"}]), true),
        (dedicated.clone(), json!([{"key": "team", "operator": "Equal", "value": "b"}]), false),
        (dedicated.clone(), json!([{"key": "team", "value": "a", "effect": "NoExecute"}]), false),
        (dedicated.clone(), json!([{"key": "other", "operator": "Exists"}]), false),
        (dedicated, json!([{"key": "team", "value": "a", "effect": "NoSchedule"}]), true),
        (json!([{"key": "team", "effect": "NoExecute"}]), json!([]), false),
        (json!([{"key": "team", "effect": "PreferNoSchedule"}]), json!([]), true),
        (json!([{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]), json!([]), true),
        (json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]), json!([]), true),
        (json!([{"key": "node.cilium.io/agent-not-ready", "effect": "NoExecute"}]), json!([]), true),
        (json!([{"key": "karpenter.sh/unregistered", "effect": "NoExecute"}]), json!([]), true),
        (json!([{"key": "ebs.csi.aws.com/agent-not-ready", "effect": "NoExecute"}]), json!([]), true),
        (json!([{"key": "example.com/agent-not-ready", "effect": "NoSchedule"}]), json!([]), true),
        (json!([{"key": "example.com/startup-taint", "effect": "NoSchedule"}]), json!([]), true),
        (json!([{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]), json!([]), true),
        (
            json!([{"key": "aws-node-termination-handler/asg-lifecycle", "effect": "NoSchedule"}]),
            json!([]),
            true,
        ),
        (json!([{"key": "startup.example.com/team", "effect": "NoSchedule"}]), json!([]), false),
    ];
    for (on_node, tolerations, expected) in cases {
        let node = node("a", |node| node.taints = taints(on_node.clone()));
        let spec = spec(&json!({"tolerations": tolerations}));
        assert_eq!(allows(&spec, &node), expected, "{on_node} {:?}", spec.tolerations);
    }
}

#[test]
fn pod_of_one_system_has_no_candidate_of_another() {
    let windows = node("w", |node| node.platform = Some(Platform::new("windows", "amd64")));
    assert!(allows(&spec(&json!({})), &windows));
    assert!(!allows(&spec(&json!({"os": {"name": "linux"}})), &windows));
    assert!(allows(&spec(&json!({"os": {"name": "linux"}})), &node("a", |_| {})));
}

#[test]
fn only_a_named_node_counts_as_named() {
    let field = |key: &str| json!({"matchFields": [{"key": key, "operator": "In", "values": ["a"]}]});
    assert!(Placement::of(&spec(&json!({"nodeName": "a"}))).names_its_node());
    assert!(
        Placement::of(&affinity(&json!([field("metadata.name"), field("metadata.name")]))).names_its_node()
    );
    assert!(!Placement::of(&affinity(&json!([field("metadata.name"), {}]))).names_its_node());
    assert!(!Placement::of(&spec(&json!({"nodeName": ""}))).names_its_node());
}

#[test]
fn future_node_has_the_pinned_architecture() {
    let arm = Some(BTreeSet::from([Platform::new("linux", "arm64")]));
    for label in ["kubernetes.io/arch", "beta.kubernetes.io/arch"] {
        let by_selector = spec(&json!({"nodeSelector": {label: "arm64"}}));
        assert_eq!(Placement::of(&by_selector).future_platforms(), arm);
    }
    let pin = json!({"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64"]});
    let by_term = affinity(&json!([{"matchExpressions": [pin]}]));
    assert_eq!(Placement::of(&by_term).future_platforms(), arm);
    let zone = json!({"key": "zone", "operator": "Exists"});
    let half = affinity(&json!([{"matchExpressions": [pin]}, {"matchExpressions": [zone]}]));
    assert_eq!(Placement::of(&half).future_platforms(), None);
    assert_eq!(Placement::of(&spec(&json!({}))).future_platforms(), None);
}

#[test]
fn windows_pods_are_recognised_by_os_selector_or_affinity() {
    let term =
        json!([{"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["windows"]}]}]);
    for spec in [
        spec(&json!({"os": {"name": "windows"}})),
        spec(&json!({"nodeSelector": {"kubernetes.io/os": "windows"}})),
        affinity(&term),
    ] {
        assert!(Placement::of(&spec).is_windows());
    }
    assert!(!Placement::of(&spec(&json!({"os": {"name": "linux"}}))).is_windows());
}

#[test]
fn fargate_needs_scheduler_name_and_label() {
    let labels = [(keys::FARGATE_PROFILE.to_owned(), "default".to_owned())].into();
    let marked = spec(&json!({"schedulerName": "fargate-scheduler"}));
    assert!(Placement::of(&marked).is_fargate(Some(&labels)));
    assert!(!Placement::of(&marked).is_fargate(None));
    assert!(!Placement::of(&spec(&json!({}))).is_fargate(Some(&labels)));
}

use k8s_openapi::api::core::v1::PodSpec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::eligibility::runtime::Runtime;
use crate::platform::Platform;

/// Node with a hostname, an instance id and a zone.
fn node(number: usize, zone: &str) -> Node {
    let name = format!("node-{number}");
    let labels = [
        (HOSTNAME_LABEL, name.as_str()),
        ("example.com/instance-id", &format!("i-{number}")),
        ("zone", zone),
        ("kubernetes.io/arch", "amd64"),
    ];
    Node {
        labels: labels.map(|(label, value)| (label.to_owned(), value.to_owned())).into(),
        taints: Vec::new(),
        platform: Some(Platform::new("linux", "amd64")),
        runtime: Some(Runtime::new("containerd://2.1.6")),
        name,
    }
}

fn set(nodes: impl IntoIterator<Item = Node>) -> NodeSet {
    let mut set = NodeSet::default();
    nodes.into_iter().for_each(|node| set.insert(node));
    set
}

fn spec(value: &Value) -> PodSpec {
    let mut whole = json!({"containers": []});
    whole.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
    serde_json::from_value(whole).unwrap()
}

fn affinity(key: &str, operator: &str, values: &[&str]) -> Value {
    json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}],
    }}}})
}

/// Returns the example node and the number of nodes of each candidate class.
fn candidates(set: &NodeSet, value: &Value) -> Vec<(String, usize)> {
    let spec = spec(value);
    let mut found: Vec<_> = set
        .candidates(&Placement::of(&spec))
        .iter()
        .map(|candidate| (candidate.node.to_owned(), candidate.nodes))
        .collect();
    found.sort();
    found
}

#[test]
fn nodes_that_differ_by_identity_only_are_one_class() {
    let set = set((0..5_000).map(|number| node(number, if number % 2 == 0 { "a" } else { "b" })));
    assert_eq!((set.len(), set.classes()), (5_000, 2));
    assert_eq!(candidates(&set, &json!({})), [("node-0".to_owned(), 2_500), ("node-1".to_owned(), 2_500)]);
    assert_eq!(candidates(&set, &json!({"nodeSelector": {"zone": "b"}})), [("node-1".to_owned(), 2_500)]);
}

#[test]
fn racks_divide_no_node_shapes() {
    // Sixteen nodes of a rack have up to 16 of 30 shapes: a thousand nodes would have nearly a thousand classes.
    let shape = |number: usize| {
        let mut node = node(number, &format!("zone-{}", number % 3));
        node.labels.remove("example.com/instance-id");
        node.labels.insert("pool".into(), format!("pool-{}", number / 3 % 10));
        // Two labels that are alike, as clouds and CSI drivers set them.
        for key in ["rack", "example.com/rack"] {
            node.labels.insert(key.into(), format!("rack-{}", number / 16));
        }
        node
    };
    let mut set = NodeSet::default();
    for number in 0..5_000 {
        set.insert(shape(number));
        assert!(set.classes() <= 64, "{number} nodes");
        if number < 1_000 {
            continue;
        }
        assert_eq!((set.len(), set.classes()), (number + 1, 30));
        if number % 1_000 != 0 {
            continue;
        }
        let rack = candidates(&set, &json!({"nodeSelector": {"rack": "rack-2", "zone": "zone-1"}}));
        let of_rack: usize = rack.iter().map(|(_, nodes)| nodes).sum();
        assert_eq!((rack.len(), of_rack), (5, 5), "nodes 34, 37, 40, 43, 46: {rack:?}");
        assert_eq!(candidates(&set, &affinity("rack", "NotIn", &["rack-2"])).len(), 30);
    }
}

#[test]
fn nodes_without_common_shapes_stay_classes() {
    // No label has many values, and each node differs in some of them.
    let bits = |number: usize| {
        let mut node = node(0, "a");
        node.name = format!("node-{number}");
        node.labels = (0..8).map(|bit| (format!("bit-{bit}"), (number >> bit & 1).to_string())).collect();
        // Follows from four of the bits, so the classes are as many without it.
        node.labels.insert("pool".into(), (number % 16).to_string());
        node
    };
    let set = set((0..256).map(bits));
    assert_eq!(set.classes(), 256);
    // A label that pods select by stays in the classes, because moving it would merge none.
    assert!(set.kept_labels.is_empty());
    assert_eq!(candidates(&set, &json!({"nodeSelector": {"bit-7": "1"}})).len(), 128);
}

#[test]
fn kept_labels_select_single_nodes() {
    let set = set((0..200).map(|number| node(number, "a")));
    let one = [("node-7".to_owned(), 1)];
    assert_eq!(candidates(&set, &json!({"nodeSelector": {HOSTNAME_LABEL: "node-7"}})), one);
    assert_eq!(candidates(&set, &json!({"nodeSelector": {"example.com/instance-id": "i-7"}})), one);
    assert_eq!(candidates(&set, &affinity("example.com/instance-id", "In", &["i-7", "gone"])), one);
    assert_eq!(candidates(&set, &json!({"nodeName": "node-7"})), one);
    assert_eq!(candidates(&set, &json!({"nodeSelector": {HOSTNAME_LABEL: "node-7", "zone": "b"}})), []);
    assert_eq!(candidates(&set, &json!({"nodeSelector": {HOSTNAME_LABEL: "gone"}})), []);
    let but_the_first = affinity(HOSTNAME_LABEL, "NotIn", &["node-0"]);
    assert_eq!(candidates(&set, &but_the_first), [("node-1".to_owned(), 200)]);
    // No node matches, so the class is no candidate.
    assert_eq!(candidates(&set, &affinity(HOSTNAME_LABEL, "Gt", &["7"])), []);
    assert_eq!(candidates(&set, &affinity("example.com/instance-id", "DoesNotExist", &[])), []);
}

#[test]
fn changed_node_moves_to_another_class() {
    // Few nodes make each value of the instance id a class.
    let node = |number, zone| {
        let mut node = node(number, zone);
        node.labels.remove("example.com/instance-id");
        node
    };
    let mut set = set((0..3).map(|number| node(number, "a")));
    set.insert(node(1, "b"));
    assert_eq!(candidates(&set, &json!({})), [("node-0".to_owned(), 2), ("node-1".to_owned(), 1)]);
    set.insert(node(1, "a"));
    assert_eq!(candidates(&set, &json!({})), [("node-0".to_owned(), 3)]);
    for number in 0..3 {
        set.remove(&format!("node-{number}"));
    }
    set.remove("gone");
    assert!(set.is_empty() && set.classes() == 0);
    assert!(set.kept_labels.values().all(HashMap::is_empty));
}

/// Node with labels that move to the nodes, one after the other, when there are enough nodes.
fn any_node() -> impl Strategy<Value = Node> {
    (0..400_usize, "[ab]", any::<bool>()).prop_map(|(number, zone, tainted)| {
        let mut node = node(number, &zone);
        node.labels.insert("rack".into(), format!("r-{}", number / 5));
        node.labels.insert("pool".into(), format!("p-{}", number % 11));
        node.labels.insert("memory".into(), (number % 40).to_string());
        node.runtime = Some(Runtime::new(["containerd://2.1.6", "containerd://1.4.13"][number % 2]));
        let taint = json!({"key": "team", "value": "x", "effect": "NoSchedule"});
        let taint = super::super::taint::Taint::lasting(serde_json::from_value(taint).unwrap());
        node.taints = taint.into_iter().filter(|_| tainted).collect();
        node
    })
}

fn any_spec() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("zone"),
        Just("example.com/instance-id"),
        Just(HOSTNAME_LABEL),
        Just("gone"),
        Just("rack"),
        Just("pool"),
        Just("memory")
    ];
    let value = prop_oneof![Just("a"), Just("i-1"), Just("node-2"), Just("r-3"), Just("p-1"), Just("7")];
    let operator =
        prop_oneof![Just("In"), Just("NotIn"), Just("Exists"), Just("DoesNotExist"), Just("Gt"), Just("Lt")];
    let by_affinity = (key.clone(), operator, value.clone()).prop_map(|(key, operator, value)| {
        let values: &[&str] = if operator.ends_with("ist") || operator == "Exists" { &[] } else { &[value] };
        affinity(key, operator, values)
    });
    let by_selector = (key, value).prop_map(|(key, value)| json!({"nodeSelector": {key: value}}));
    prop_oneof![
        Just(json!({})),
        by_affinity,
        by_selector,
        Just(json!({"tolerations": [{"operator": "Exists"}]}))
    ]
}

proptest! {
    /// Interning never loses a candidate: a node that matches alone has its class among the candidates.
    #[test]
    fn class_of_every_matching_node_is_a_candidate(
        nodes in proptest::collection::vec(any_node(), 1..300),
        removed in proptest::collection::vec(0..400_usize, 0..40),
        value in any_spec(),
    ) {
        let mut all = NodeSet::default();
        let mut left: BTreeMap<String, Node> = BTreeMap::new();
        for node in nodes {
            left.insert(node.name.clone(), node.clone());
            all.insert(node);
        }
        for number in removed {
            let name = format!("node-{number}");
            left.remove(&name);
            all.remove(&name);
        }
        let spec = spec(&value);
        let found = all.candidates(&Placement::of(&spec));
        prop_assert_eq!(all.len(), left.len());
        for node in left.into_values() {
            let alone = set([node.clone()]);
            let is_match = !alone.candidates(&Placement::of(&spec)).is_empty();
            let is_found = found.iter().any(|candidate| {
                candidate.class.taints == node.taints
                    && candidate.class.labels.get("zone") == node.labels.get("zone")
                    && candidate.class.runtime == node.runtime
            });
            prop_assert!(!is_match || is_found, "{} {}", node.name, value);
        }
    }
}

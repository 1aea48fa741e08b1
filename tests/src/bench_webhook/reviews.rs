//! Reviews as an API server sends them when the ReplicaSet controller creates pods.

use std::fmt::Write as _;

use serde_json::{Value, json};
use zstart_core::Digest;

use super::nodes::{POOLS, ZONES};
use super::{pods, records};

/// Namespace of all pods.
pub(super) const NAMESPACE: &str = "apps";
/// Placement of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Any untainted node.
    Unpinned,
    /// Node selector and tolerations.
    Selector,
    /// Required and preferred node affinity, pod anti-affinity, topology spread.
    Affinity,
}

/// `ReplicaSet` that owns pods.
#[derive(Clone, Debug)]
pub(crate) struct ReplicaSet {
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// `count` reviews for the load generator, one in a line, a third of each kind. Images are drawn from the first
/// `records` records.
pub(super) fn lines(count: usize, records: usize, owners: &[ReplicaSet]) -> String {
    let mut text = String::new();
    for number in 0..count {
        let kind = [Kind::Unpinned, Kind::Selector, Kind::Affinity][number % 3];
        let owner = &owners[number % owners.len()];
        let name = match kind {
            Kind::Unpinned => "unpinned",
            Kind::Selector => "selector, tolerations",
            Kind::Affinity => "affinity",
        };
        // Writing into a String can't fail.
        let _ = writeln!(text, "{name}\t{}", review(number, kind, records, owner));
    }
    text
}

fn review(number: usize, kind: Kind, records: usize, owner: &ReplicaSet) -> Value {
    let pod = pods::pod(number, &images(number, records), owner, &placement(kind, number));
    let uid = Digest::sha256_of(format!("review {number}").as_bytes());
    let (kind, resource) = (
        json!({"group": "", "version": "v1", "kind": "Pod"}),
        json!({"group": "", "version": "v1", "resource": "pods"}),
    );
    json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": pods::uuid(&uid), "kind": kind, "resource": resource, "requestKind": kind,
            "requestResource": resource, "namespace": NAMESPACE, "operation": "CREATE",
            "userInfo": {
                "username": "system:serviceaccount:kube-system:replicaset-controller",
                "uid": "7c1f3c0a-6a55-4c3e-9d2e-1b8f0a5e4d21",
                "groups": ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"],
                "extra": {"authentication.kubernetes.io/credential-id": ["JTI=5d0c3a1e-8f7b-4f6c-a2a5-0e1d9c8b7a66"]},
            },
            "object": pod, "oldObject": null, "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    })
}

/// Images of a pod with one to four containers: most have records; every tenth application and each mesh proxy
/// has none.
fn images(number: usize, records: usize) -> Vec<String> {
    // A prime step spreads successive pods over all records.
    let recorded = |offset: usize| records::source((number * 7_919 + offset) % records);
    let application = match number % 10 {
        9 => format!("ghcr.io/search/unconverted-{number}:1.0.0"),
        _ => recorded(0),
    };
    let mut images = vec![application];
    if number.is_multiple_of(2) {
        images.push(recorded(1_013));
    }
    if number.is_multiple_of(4) {
        images.push("docker.io/envoyproxy/envoy:distroless-v1.36.2".to_owned());
    }
    if number.is_multiple_of(8) {
        images.push(recorded(2_027));
    }
    images
}

/// Scheduling members of a pod's specification.
fn placement(kind: Kind, number: usize) -> Value {
    // Pod numbers of one kind are a multiple of three apart.
    let turn = number / 3;
    let pool = &POOLS[turn % POOLS.len()];
    // The API server's plugin DefaultTolerationSeconds has added two tolerations before webhooks are called.
    let mut tolerations: Vec<Value> = ["not-ready", "unreachable"]
        .iter()
        .map(|name| {
            json!({"key": format!("node.kubernetes.io/{name}"), "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": 300})
        })
        .collect();
    if let (Kind::Selector | Kind::Affinity, Some((key, value))) = (kind, pool.taint) {
        tolerations.push(json!({"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"}));
    }
    match kind {
        Kind::Unpinned => json!({"tolerations": tolerations}),
        Kind::Selector => {
            tolerations.push(json!({"key": "example.com/maintenance", "operator": "Exists"}));
            let selector = match turn % 3 {
                0 => json!({"eks.amazonaws.com/nodegroup": pool.name}),
                1 => json!({"kubernetes.io/arch": pool.architecture, "kubernetes.io/os": "linux",
                    "topology.kubernetes.io/zone": ZONES[turn % ZONES.len()].0}),
                _ => json!({"node.kubernetes.io/instance-type": pool.instance_type}),
            };
            json!({"tolerations": tolerations, "nodeSelector": selector})
        }
        Kind::Affinity => json!({"tolerations": tolerations, "affinity": affinity(turn)}),
    }
}

fn affinity(turn: usize) -> Value {
    let pool = &POOLS[turn % POOLS.len()];
    let [(first, _), (second, _), _] = ZONES;
    let requirement = |key: &str, operator: &str, values: &[&str]| json!({"key": key, "operator": operator, "values": values});
    let application = json!({"matchLabels": {"app.kubernetes.io/name": pods::workload(turn)}});
    json!({
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [
                    requirement("topology.kubernetes.io/zone", "In", &[first, second]),
                    requirement("kubernetes.io/arch", "In", &[pool.architecture]),
                    requirement("eks.amazonaws.com/capacityType", "NotIn", &["SPOT"]),
                ]},
                {"matchExpressions": [
                    requirement("eks.amazonaws.com/nodegroup", "In", &[pool.name, "general"]),
                    {"key": "example.com/team", "operator": "Exists"},
                    {"key": "example.com/legacy", "operator": "DoesNotExist"},
                ]},
            ]},
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 50, "preference": {
                "matchExpressions": [requirement("node.kubernetes.io/instance-type", "In", &[pool.instance_type])],
            }}],
        },
        "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 100, "podAffinityTerm": {"labelSelector": application, "topologyKey": "kubernetes.io/hostname"}},
        ]},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners() -> [ReplicaSet; 1] {
        [ReplicaSet { name: "service-1-5d4f7c9b8".to_owned(), uid: "1".to_owned() }]
    }

    #[test]
    fn reviews_are_a_third_of_each_kind_and_of_realistic_size() {
        let text = lines(300, 1_000, &owners());
        assert_eq!(text.lines().count(), 300);
        for kind in ["unpinned", "selector, tolerations", "affinity"] {
            let own = text.lines().filter(|line| line.split_once('\t').is_some_and(|(name, _)| name == kind));
            assert_eq!(own.count(), 100, "{kind}");
        }
        let sizes: Vec<usize> = text.lines().map(str::len).collect();
        let (min, max) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
        assert!(*min >= 3 << 10 && *max <= 12 << 10, "reviews have {min} to {max} bytes");
    }

    #[test]
    fn most_images_have_records() {
        let images: Vec<String> = (0..1_000).flat_map(|number| images(number, 100)).collect();
        let known: Vec<String> = (0..100).map(records::source).collect();
        let recorded = images.iter().filter(|image| known.contains(image)).count();
        assert!(
            recorded * 10 > images.len() * 7 && recorded < images.len(),
            "{recorded} of {}",
            images.len()
        );
    }
}

//! Random nodes: pools of one runtime and architecture, as clusters have them, with exceptions.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use zstart_tests::objects::node_info;
use zstart_tests::simulation::NODE_ANNOTATION;

use crate::random::Random;

/// Runtimes, and whether they start zstd images: containerd since 1.5, CRI-O since 1.16, Docker since 23.0. An
/// unknown version is one that can't.
const RUNTIMES: [(&str, bool); 8] = [
    (CONTAINERD_2, true),
    (BOTTLEROCKET, true),
    (K3S, true),
    (CONTAINERD_1_4, false),
    (UNKNOWN, false),
    (CRIO, true),
    (DOCKER_20, false),
    (DOCKER_28, true),
];
const CONTAINERD_2: &str = "containerd://2.1.6";
const BOTTLEROCKET: &str = "containerd://1.7.27+bottlerocket";
const K3S: &str = "containerd://1.7.23-k3s2";
const CONTAINERD_1_4: &str = "containerd://1.4.13";
const UNKNOWN: &str = "containerd://Unknown";
const CRIO: &str = "cri-o://1.31.0";
const DOCKER_20: &str = "docker://20.10.7";
const DOCKER_28: &str = "docker://28.2.2";

/// Key, value and effect of a taint.
pub(crate) type Taint = (&'static str, &'static str, &'static str);

/// Group of nodes with one label `pool`.
#[derive(Clone, Copy)]
pub(crate) struct Pool {
    pub(crate) name: &'static str,
    runtimes: &'static [&'static str],
    platforms: &'static [&'static str],
    pub(crate) taint: Option<Taint>,
    /// In half of all clusters, the pool lacks its taint.
    may_lack_taint: bool,
    weight: usize,
}

const fn pool(
    name: &'static str,
    runtimes: &'static [&'static str],
    platforms: &'static [&'static str],
    weight: usize,
) -> Pool {
    Pool { name, runtimes, platforms, taint: None, may_lack_taint: false, weight }
}

const fn tainted(pool: Pool, taint: Taint, may_lack_taint: bool) -> Pool {
    Pool { taint: Some(taint), may_lack_taint, ..pool }
}

const AMD64: &[&str] = &["linux/amd64"];
const ARM64: &[&str] = &["linux/arm64"];

pub(crate) const POOLS: [Pool; 11] = [
    pool("general", &[CONTAINERD_2], AMD64, 25),
    tainted(
        pool("mixed", &[CONTAINERD_2, K3S], &["linux/amd64", "linux/arm64"], 12),
        ("pool", "mixed", "NoSchedule"),
        true,
    ),
    tainted(pool("arm", &[BOTTLEROCKET], ARM64, 12), ("arch", "arm64", "NoSchedule"), true),
    tainted(pool("batch", &[K3S], AMD64, 12), ("dedicated", "batch", "NoSchedule"), false),
    tainted(pool("gpu", &[CONTAINERD_2], AMD64, 8), ("nvidia.com/gpu", "present", "NoExecute"), false),
    tainted(pool("legacy", &[CONTAINERD_1_4], AMD64, 7), ("legacy", "", "NoSchedule"), true),
    tainted(
        pool("upgrading", &[CONTAINERD_1_4, CONTAINERD_2], AMD64, 7),
        ("upgrade", "half-done", "NoSchedule"),
        true,
    ),
    tainted(pool("crio", &[CRIO], AMD64, 6), ("dedicated", "crio", "NoExecute"), true),
    tainted(pool("docker", &[DOCKER_20, DOCKER_28], AMD64, 4), ("legacy", "docker", "NoSchedule"), true),
    tainted(pool("windows", &[K3S], &["windows/amd64"], 5), ("os", "windows", "NoSchedule"), true),
    tainted(pool("unknown", &[UNKNOWN], AMD64, 2), ("dedicated", "batch", "NoExecute"), true),
];

/// Pool that joins after the pods were created.
pub(crate) const LATE: Pool = pool("late", &[CONTAINERD_1_4, CONTAINERD_2], AMD64, 0);

/// Taints that end: those of the node lifecycle controller, of components that get a node ready, and of
/// autoscalers.
const PASSING: [Taint; 8] = [
    ("node.kubernetes.io/not-ready", "", "NoSchedule"),
    ("node.kubernetes.io/not-ready", "", "NoExecute"),
    ("node.kubernetes.io/network-unavailable", "", "NoSchedule"),
    ("node.cloudprovider.kubernetes.io/uninitialized", "true", "NoSchedule"),
    ("node.cilium.io/agent-not-ready", "true", "NoExecute"),
    ("karpenter.sh/unregistered", "", "NoExecute"),
    ("ebs.csi.aws.com/agent-not-ready", "", "NoExecute"),
    ("ToBeDeletedByClusterAutoscaler", "1700000000", "NoSchedule"),
];
/// Taint of the node lifecycle controller on a cordoned node.
pub(crate) const CORDONED: Taint = ("node.kubernetes.io/unschedulable", "", "NoSchedule");
/// Taint of a few nodes in any pool.
pub(crate) const TEAM: Taint = ("team", "a", "NoSchedule");

/// Label with a value of its own on each node, as several clouds set it.
pub(crate) const INSTANCE: &str = "alpha.eksctl.io/instance-id";

/// Value of [`INSTANCE`] on the node `name`.
pub(crate) fn instance_id(name: &str) -> String {
    format!("i-{name}")
}

/// Node of a random cluster.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) platform: &'static str,
    pub(crate) runtime: &'static str,
    labels: BTreeMap<String, String>,
    taints: Vec<Taint>,
    /// Taints that end after the pods were created.
    passing: Vec<Taint>,
    cordoned: bool,
    /// Created without these labels and taints and with another runtime, and updated before the pods exist.
    is_updated: bool,
}

/// Nodes of a random cluster.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// Nodes that exist before the pods. The last node starts every image of its platform.
    pub(crate) nodes: Vec<Node>,
    /// Nodes that join after the pods were created.
    pub(crate) late: Vec<Node>,
}

impl Fleet {
    pub(crate) fn random(random: &mut Random, size: usize) -> Self {
        let pools = POOLS.map(|pool| {
            let lacks_taint = pool.may_lack_taint && random.chance(50);
            Pool { taint: pool.taint.filter(|_| !lacks_taint), ..pool }
        });
        let mut nodes: Vec<Node> = (1..size)
            .map(|number| {
                let pool = random.weighted(&pools, |pool| pool.weight);
                Node::random(random, pool, number)
            })
            .collect();
        let mut final_node = |pool, number| Node { is_updated: false, ..Node::random(random, pool, number) };
        nodes.push(final_node(&pools[0], size));
        let late = (0..=size / 20).map(|number| final_node(&LATE, size + 1 + number)).collect();
        Self { nodes, late }
    }
}

impl Node {
    fn random(random: &mut Random, pool: &Pool, number: usize) -> Self {
        let name = format!("node-{number:04}");
        let platform = *random.pick(pool.platforms);
        let (os, architecture) = platform.split_once('/').unwrap_or_default();
        let zone = random.pick(&["a", "b", "c"]);
        let instance = random.pick(&["m5.large", "m7g.xlarge", "c6i.2xlarge"]);
        let mut labels = vec![
            ("kubernetes.io/hostname", name.clone()),
            (INSTANCE, instance_id(&name)),
            ("kubernetes.io/os", os.into()),
            ("beta.kubernetes.io/os", os.into()),
            ("topology.kubernetes.io/zone", (*zone).into()),
            ("node.kubernetes.io/instance-type", (*instance).into()),
            ("pool", pool.name.into()),
        ];
        // A few nodes lack labels that all others have, or have them in another form.
        if random.chance(97) {
            labels.push(("kubernetes.io/arch", architecture.into()));
        }
        if random.chance(80) {
            labels.push(("generation", (*random.pick(&["1", "2", "5", "007", "10", "x7", ""])).into()));
        }
        if random.chance(20) {
            labels.push(("spot", (*random.pick(&["true", ""])).into()));
        }
        if random.chance(40) {
            labels.push(("team", (*random.pick(&["a", "b"])).into()));
        }
        let mut taints: Vec<Taint> = pool.taint.into_iter().collect();
        if random.chance(5) {
            taints.push(TEAM);
        }
        if random.chance(8) {
            taints.push(("crowded", "", "PreferNoSchedule"));
        }
        let mut passing = Vec::new();
        let cordoned = random.chance(5);
        if cordoned {
            passing.push(CORDONED);
        }
        if random.chance(10) {
            passing.push(*random.pick(&PASSING));
        }
        Self {
            platform,
            runtime: *random.pick(pool.runtimes),
            labels: labels.into_iter().map(|(label, value)| (label.to_owned(), value)).collect(),
            name,
            taints,
            passing,
            cordoned,
            is_updated: random.chance(10),
        }
    }

    /// Returns whether the container runtime starts zstd images.
    pub(crate) fn starts_zstd(&self) -> bool {
        RUNTIMES.contains(&(self.runtime, true))
    }

    /// Returns whether the runtime adds a registry of its own choice to a name without one.
    pub(crate) fn resolves_short_names(&self) -> bool {
        self.runtime == CRIO
    }

    /// Returns whether a taint or a cordon of this node ends after the pods were created.
    pub(crate) fn settles(&self) -> bool {
        !self.passing.is_empty()
    }

    /// Returns whether the node must be updated before the pods are created.
    pub(crate) fn is_updated(&self) -> bool {
        self.is_updated
    }

    /// Object as created.
    pub(crate) fn first_object(&self) -> Value {
        if !self.is_updated {
            return self.object();
        }
        let mut object = self.with_taints(&[], false);
        object["metadata"]["labels"] = json!({"pool": "new"});
        object["status"]["nodeInfo"]["containerRuntimeVersion"] = json!(CONTAINERD_2);
        object
    }

    /// Object at the time when the pods are created, before any passing taint ends.
    pub(crate) fn object(&self) -> Value {
        self.with_taints(&[self.taints.clone(), self.passing.clone()].concat(), self.cordoned)
    }

    /// Object after every passing taint ended.
    pub(crate) fn settled_object(&self) -> Value {
        self.with_taints(&self.taints, false)
    }

    fn with_taints(&self, taints: &[Taint], cordoned: bool) -> Value {
        let taints =
            taints.iter().map(|(key, value, effect)| json!({"key": key, "value": value, "effect": effect}));
        let (os, architecture) = self.platform.split_once('/').unwrap_or_default();
        let resources = json!({"cpu": "32", "memory": "256Gi", "pods": "110"});
        json!({
            "metadata": {"name": self.name, "labels": self.labels, "annotations": {NODE_ANNOTATION: "fake"}},
            "spec": {"taints": taints.collect::<Vec<_>>(), "unschedulable": cordoned},
            "status": {
                "allocatable": resources, "capacity": resources,
                "nodeInfo": node_info(os, architecture, self.runtime),
            },
        })
    }
}

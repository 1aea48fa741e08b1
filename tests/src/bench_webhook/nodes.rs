//! Nodes of a large cluster on Amazon EKS: many nodes of a few shapes, each node with labels of its own.

use serde_json::{Value, json};
use zstart_core::Digest;

use super::records;

/// Zones of the cluster, with their ids.
pub(super) const ZONES: [(&str, &str); 3] =
    [("eu-central-1a", "euc1-az2"), ("eu-central-1b", "euc1-az3"), ("eu-central-1c", "euc1-az1")];
/// Shapes: each pool in each zone.
pub(super) const SHAPES: usize = ZONES.len() * POOLS.len();
/// Images that a kubelet reports by default (`nodeStatusMaxImages`).
const REPORTED_IMAGES: usize = 50;

/// A node group.
pub(super) struct Pool {
    pub(super) name: &'static str,
    pub(super) instance_type: &'static str,
    pub(super) architecture: &'static str,
    /// Version as the kubelet reports it.
    runtime: &'static str,
    /// `ON_DEMAND` or `SPOT`.
    capacity_type: &'static str,
    /// Key and value of a taint `NoSchedule`.
    pub(super) taint: Option<(&'static str, &'static str)>,
    cores: u32,
    gibibytes: u32,
}

const fn pool(
    name: &'static str,
    instance_type: &'static str,
    architecture: &'static str,
    runtime: &'static str,
) -> Pool {
    Pool {
        name,
        instance_type,
        architecture,
        runtime,
        capacity_type: "ON_DEMAND",
        taint: None,
        cores: 4,
        gibibytes: 16,
    }
}

/// Node groups. Every runtime can start zstd images.
pub(super) const POOLS: [Pool; 10] = [
    pool("general", "m6i.xlarge", "amd64", "containerd://1.7.29"),
    pool("general-new", "m7i.xlarge", "amd64", "containerd://2.1.6"),
    pool("arm", "m7g.xlarge", "arm64", "containerd://2.1.6"),
    Pool { capacity_type: "SPOT", ..pool("compute", "c6i.2xlarge", "amd64", "containerd://1.7.29") },
    Pool { gibibytes: 64, ..pool("memory", "r6i.2xlarge", "amd64", "containerd://1.7.29") },
    Pool {
        capacity_type: "SPOT",
        taint: Some(("example.com/spot", "true")),
        ..pool("spot", "m5.xlarge", "amd64", "containerd://1.7.29")
    },
    Pool {
        capacity_type: "SPOT",
        taint: Some(("example.com/spot", "true")),
        ..pool("spot-arm", "m6g.xlarge", "arm64", "containerd://2.1.6")
    },
    Pool {
        taint: Some(("nvidia.com/gpu", "present")),
        ..pool("gpu", "g5.2xlarge", "amd64", "containerd://1.7.29")
    },
    Pool {
        taint: Some(("example.com/dedicated", "batch")),
        ..pool("batch", "c6a.4xlarge", "amd64", "containerd://2.1.6")
    },
    Pool {
        taint: Some(("example.com/dedicated", "ingress")),
        ..pool("ingress", "c6i.xlarge", "amd64", "containerd://1.7.29")
    },
];

/// Node with this number. The shapes take turns.
pub(crate) fn node(number: usize) -> Value {
    let shape = number % SHAPES;
    let ((zone, zone_id), pool) = (ZONES[shape % ZONES.len()], &POOLS[shape / ZONES.len()]);
    let id = Digest::sha256_of(format!("node {number}").as_bytes());
    let instance = format!("i-{}", &id.hex()[..17]);
    let address = format!("10.{}.{}.{}", 32 + number / 62_500, number / 250 % 250, number % 250);
    let name = format!("ip-{}.eu-central-1.compute.internal", address.replace('.', "-"));
    let taints: Vec<Value> = pool
        .taint
        .iter()
        .map(|(key, value)| json!({"key": key, "value": value, "effect": "NoSchedule"}))
        .collect();
    let quantities = |cores: String, memory: u32| {
        json!({"cpu": cores, "memory": format!("{memory}Ki"), "ephemeral-storage": "83873772Ki",
            "hugepages-1Gi": "0", "hugepages-2Mi": "0", "pods": "58"})
    };
    let memory = pool.gibibytes * 1024 * 1024;
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": name, "labels": labels(pool, zone, zone_id, &name, number),
            "annotations": {
                "alpha.kubernetes.io/provided-node-ip": address,
                "csi.volume.kubernetes.io/nodeid": format!("{{\"ebs.csi.aws.com\":\"{instance}\"}}"),
                "node.alpha.kubernetes.io/ttl": "300",
                "volumes.kubernetes.io/controller-managed-attach-detach": "true",
            },
        },
        "spec": {"providerID": format!("aws:///{zone}/{instance}"), "taints": taints},
        "status": {
            "capacity": quantities(pool.cores.to_string(), memory),
            "allocatable": quantities(format!("{}m", pool.cores * 1_000 - 80), memory - 1_000_000),
            "addresses": [
                {"type": "InternalIP", "address": address},
                {"type": "InternalDNS", "address": name},
                {"type": "Hostname", "address": name},
            ],
            "conditions": conditions(),
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10_250}},
            "nodeInfo": {
                "architecture": pool.architecture, "operatingSystem": "linux",
                "containerRuntimeVersion": pool.runtime, "kernelVersion": "6.12.46-66.121.amzn2023",
                "kubeProxyVersion": "", "kubeletVersion": "v1.36.3-eks-3025e55",
                "osImage": "Amazon Linux 2023.9.20260105", "bootID": &id.hex()[..32],
                "machineID": &id.hex()[32..], "systemUUID": format!("ec2{}", &id.hex()[..29]),
            },
            "images": images(number),
        },
    })
}

fn labels(pool: &Pool, zone: &str, zone_id: &str, name: &str, number: usize) -> Value {
    json!({
        "beta.kubernetes.io/arch": pool.architecture, "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/instance-type": pool.instance_type,
        "eks.amazonaws.com/capacityType": pool.capacity_type,
        "eks.amazonaws.com/nodegroup": pool.name,
        "eks.amazonaws.com/nodegroup-image": "ami-0f3d1c2b4a5968778",
        "eks.amazonaws.com/sourceLaunchTemplateId": "lt-0a1b2c3d4e5f60718",
        "eks.amazonaws.com/sourceLaunchTemplateVersion": "7",
        "failure-domain.beta.kubernetes.io/region": "eu-central-1",
        "failure-domain.beta.kubernetes.io/zone": zone,
        "k8s.io/cloud-provider-aws": "c5d7f1a0b2e3948576a1b2c3d4e5f607",
        "kubernetes.io/arch": pool.architecture, "kubernetes.io/hostname": name, "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": pool.instance_type,
        "topology.ebs.csi.aws.com/zone": zone, "topology.k8s.aws/zone-id": zone_id,
        "topology.k8s.aws/network-node-layer-3": format!("nn-{:017x}", number / 16),
        "topology.kubernetes.io/region": "eu-central-1", "topology.kubernetes.io/zone": zone,
        "example.com/team": if pool.taint.is_some() { "platform" } else { "shared" },
    })
}

fn conditions() -> Value {
    let time = "2026-01-20T08:00:00Z";
    let condition = |name: &str, status: &str, reason: &str, message: &str| {
        json!({"type": name, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": time, "lastTransitionTime": time})
    };
    json!([
        condition(
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available"
        ),
        condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ])
}

fn images(number: usize) -> Vec<Value> {
    let image = |index: usize| {
        let source = records::source(number * 7 + index * 131);
        let name = source.rsplit_once(':').map_or(source.as_str(), |(name, _)| name);
        let digest = Digest::sha256_of(source.as_bytes());
        json!({"names": [format!("{name}@{digest}"), source], "sizeBytes": 184_549_376 + index})
    };
    (0..REPORTED_IMAGES).map(image).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use k8s_openapi::api::core::v1::Node;

    use super::*;

    #[test]
    fn nodes_have_30_shapes_and_names_of_their_own() {
        let (mut names, mut shapes) = (BTreeSet::new(), BTreeSet::new());
        for number in 0..1_000 {
            let node = node(number);
            assert!(
                names.insert(node["metadata"]["name"].to_string()),
                "two nodes are {}",
                node["metadata"]["name"]
            );
            let labels = &node["metadata"]["labels"];
            let shape = ["eks.amazonaws.com/nodegroup", "topology.kubernetes.io/zone"]
                .map(|key| labels[key].to_string());
            shapes.insert(shape);
        }
        assert_eq!(shapes.len(), 30);
    }

    #[test]
    fn nodes_have_the_size_of_real_ones() {
        let text = node(4_711).to_string();
        assert!((10_000..20_000).contains(&text.len()), "{} bytes", text.len());
        serde_json::from_str::<Node>(&text).unwrap();
    }
}

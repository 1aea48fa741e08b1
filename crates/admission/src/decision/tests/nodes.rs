//! Decisions that depend on the nodes.

use super::*;

#[test]
fn old_runtime_excludes_a_pod_only_on_a_candidate() {
    let old = changed(
        node("old", "amd64"),
        "/status/nodeInfo/containerRuntimeVersion",
        json!("containerd://1.4.1"),
    );
    let cluster = Cluster::with_records(&[APP]).with_node(old);
    assert_eq!(reason(&cluster, &pod_of(APP)), Reason::RuntimeUnsupported);
    let pinned = json!({"nodeSelector": {"kubernetes.io/hostname": "a"}, "containers": [{"name": "app", "image": APP}]});
    assert_eq!(reason(&cluster, &pod(json!({"spec": pinned}))), Reason::Rewritten);
}

#[test]
fn blocking_node_is_named() {
    let mut cluster = Cluster::with_records(&[APP]);
    for name in ["old-b", "old-a"] {
        let mut old = node(name, "amd64");
        old["status"]["nodeInfo"]["containerRuntimeVersion"] = json!("containerd://1.4.1");
        cluster = cluster.with_node(old);
    }
    let decisions = cluster.decide(&pod_of(APP));
    let blocker = "node old-a (linux/amd64 with containerd://1.4.1; 2 such nodes)";
    assert_eq!(decisions[0].blocker.as_deref(), Some(blocker));
}

#[test]
fn one_converted_platform_suffices_in_a_mixed_cluster() {
    let both = Cluster::with_records(&[APP]).with_node(node("b", "arm64"));
    assert_eq!(reason(&both, &pod_of(APP)), Reason::Rewritten);
    let windows = changed(node("w", "amd64"), "/status/nodeInfo/operatingSystem", json!("windows"));
    assert_eq!(reason(&both.with_node(windows), &pod_of(APP)), Reason::Rewritten);
    let only_arm = Cluster::empty().with_node(node("b", "arm64")).with_record(record(APP));
    assert_eq!(reason(&only_arm, &pod_of(APP)), Reason::PlatformNotCovered);
}

#[test]
fn unlisted_runtime_is_not_rewritten() {
    let crio =
        changed(node("a", "amd64"), "/status/nodeInfo/containerRuntimeVersion", json!("cri-o://1.31.0"));
    let sources = ["docker.io/team/app:v1"];
    let mut cluster = Cluster::with_records(&sources).with_node(crio);
    assert_eq!(reason(&cluster, &pod_of("docker.io/team/app:v1")), Reason::RuntimeUnsupported);
    let config = crate::config::Config::parse(std::path::Path::new("c"), "runtimes: {cri-o: '1.16'}");
    cluster.policy = config.unwrap().policy;
    assert_eq!(reason(&cluster, &pod_of("docker.io/team/app:v1")), Reason::Rewritten);
    assert_eq!(reason(&cluster, &pod_of("team/app:v1")), Reason::AmbiguousName);
}

#[test]
fn when_no_node_decides_in_an_empty_cluster() {
    let mut cluster = Cluster::empty().with_record(record(APP));
    assert_eq!(reason(&cluster, &pod_of(APP)), Reason::NoCandidateNode);
    cluster.policy.when_no_node = WhenNoNode::Rewrite;
    assert_eq!(reason(&cluster, &pod_of(APP)), Reason::Rewritten);
    let on = |architecture: &str| {
        pod(json!({"spec": {"nodeSelector": {"kubernetes.io/arch": architecture},
            "containers": [{"name": "app", "image": APP}]}}))
    };
    assert_eq!(reason(&cluster, &on("amd64")), Reason::Rewritten);
    assert_eq!(reason(&cluster, &on("arm64")), Reason::PlatformNotCovered);
    let named = json!({"spec": {"nodeName": "later", "containers": [{"name": "app", "image": APP}]}});
    assert_eq!(reason(&cluster, &pod(named)), Reason::NoCandidateNode);
    let field = json!({"key": "metadata.name", "operator": "In", "values": ["later"]});
    let pinned = json!({"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
        {"nodeSelectorTerms": [{"matchFields": [field]}]}}}, "containers": [{"name": "app", "image": APP}]}});
    assert_eq!(reason(&cluster, &pod(pinned)), Reason::NoCandidateNode);
}

#[test]
fn vouched_nodes_cover_only_pods_that_ask_for_them() {
    let mut cluster = Cluster::empty().with_record(record(APP));
    cluster.policy.when_no_node = WhenNoNode::Vouched(vec!["pool in (spot, burst)".parse().unwrap()]);
    let on = |pool: &str| {
        pod(json!({"spec": {"nodeSelector": {"pool": pool}, "containers": [{"name": "app", "image": APP}]}}))
    };
    assert_eq!(reason(&cluster, &on("spot")), Reason::Rewritten);
    assert_eq!(reason(&cluster, &on("legacy")), Reason::NoCandidateNode);
    assert_eq!(reason(&cluster, &pod_of(APP)), Reason::NoCandidateNode);
}

#[test]
fn when_no_node_does_not_cover_tainted_old_nodes() {
    let mut old = node("old", "amd64");
    old["status"]["nodeInfo"]["containerRuntimeVersion"] = json!("containerd://1.4.13");
    old["spec"] = json!({"taints": [{"key": "example.com/being-prepared", "effect": "NoSchedule"}]});
    let mut cluster = Cluster::empty().with_record(record(APP)).with_node(old);
    cluster.policy.when_no_node = WhenNoNode::Rewrite;
    assert_eq!(reason(&cluster, &pod_of(APP)), Reason::RuntimeUnsupported);
}

#[test]
fn fargate_pod_needs_no_node() {
    let cluster = Cluster::empty().with_record(record(APP));
    let fargate = pod(json!({
        "metadata": {"labels": {"eks.amazonaws.com/fargate-profile": "default"}},
        "spec": {"schedulerName": "fargate-scheduler", "containers": [{"name": "app", "image": APP}]},
    }));
    assert_eq!(reason(&cluster, &fargate), Reason::Rewritten);
}

//! The cluster itself: it runs pods, is isolated, and leaves nothing behind.

use std::collections::BTreeSet;

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use zstart_tests::cluster::{self, BUSYBOX, Cluster, REGISTRY};
use zstart_tests::{settings, wait};

/// Starts a pod that prints a word and waits for its output. The pod runs on the given node, if any.
async fn run_pod(cluster: &Cluster, node: Option<&str>) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), "default");
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "hello"},
        "spec": {
            "nodeSelector": node.map(|name| json!({"kubernetes.io/hostname": name})),
            "containers": [{
                "name": "hello", "image": format!("{REGISTRY}/{BUSYBOX}"),
                "args": ["echo hello; exec /bin/busybox sleep 600"],
            }],
        },
    }))?;
    pods.create(&PostParams::default(), &pod).await?;
    wait::until("the pod to have spoken", Duration::from_mins(1), || async {
        Ok((cluster.kubectl(&["logs", "hello"])?.trim() == "hello").then_some(()))
    })
    .await?;
    let pulls = cluster.pulls("default", "hello").await?;
    ensure!(pulls.len() == 1 && pulls[0].image == format!("{REGISTRY}/{BUSYBOX}"), "{pulls:?}");
    Ok(())
}

#[test]
fn pod_runs_and_its_pull_time_is_reported() {
    cluster::run("lab::pod_runs_and_its_pull_time_is_reported", |cluster| async move {
        run_pod(&cluster, None).await
    });
}

#[test]
fn joined_node_runs_a_pod() {
    cluster::run("lab::joined_node_runs_a_pod", |mut cluster| async move {
        let node = cluster.join_node().await?;
        run_pod(&cluster, Some(&node)).await
    });
}

/// Everything that a cluster could leave on the machine: processes of its tools, mounts, interfaces, firewall
/// rules, cgroups, files.
fn traces() -> BTreeSet<String> {
    let mut traces = BTreeSet::new();
    let mut note = |kind: &str, text: &str| {
        traces.extend(text.lines().map(|line| format!("{kind} {}", line.trim())));
    };
    let output = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().expect("the program starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let folders = |folder: &str, part: &str| -> String {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.path().display().to_string());
        names.filter(|name| name.contains(part)).collect::<Vec<_>>().join("\n")
    };
    for tool in ["kubelet", "containerd", "containerd-shim", "kube-proxy", "kube-scheduler"] {
        note("process", &output("pgrep", &["--exact", tool]));
    }
    note("mount", &std::fs::read_to_string("/proc/self/mounts").expect("mounts are listed"));
    note(
        "interface",
        &output("ip", &["-oneline", "link"]).split(':').nth(1).unwrap_or_default().replace(' ', ""),
    );
    note("firewall", &output("nft", &["list", "tables"]));
    note("file", &folders(&std::env::temp_dir().display().to_string(), "zstart-cluster-"));
    note("network namespace", &folders("/run/netns", "cni-"));
    for tree in std::iter::once("/sys/fs/cgroup".to_owned())
        .chain(folders("/sys/fs/cgroup", "").lines().map(Into::into))
    {
        note("cgroup", &folders(&format!("{tree}/k8s.io"), ""));
    }
    traces
}

#[test]
fn concurrent_clusters_leave_nothing_behind() {
    if !settings::is_root() {
        cluster::run("", |_| async { Ok(()) });
        return;
    }
    let before = traces();
    // This test can't be the first process of two clusters, so it starts the other test twice.
    let test = "lab::pod_runs_and_its_pull_time_is_reported";
    let program = std::env::current_exe().expect("this program has a path");
    let start = || Command::new(&program).args([test, "--exact"]).spawn().expect("the program starts");
    let clusters = [start(), start()];
    for mut cluster in clusters {
        let status = cluster.wait().expect("the program ends");
        assert!(status.success(), "a cluster failed: {status}");
    }
    let left: Vec<String> = traces().difference(&before).cloned().collect();
    assert!(left.is_empty(), "left behind: {left:#?}");
}

//! Short form of `make inventory`: the cost of a change doesn't grow with the cluster.

use anyhow::Result;
use zstart_tests::cluster::built_binaries;
use zstart_tests::inventory::{Changes, Report, Size, run, tables};

fn changes(report: &Report) -> Vec<(&str, Option<u64>)> {
    report.changes.iter().map(|Changes { name, named, .. }| (*name, *named)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn change_of_a_pod_names_only_its_own_sources() -> Result<()> {
    let controller = built_binaries()?.join("zstart-controller");
    let size =
        Size { references: 30, nodes: 20, pods: 150, changes: 10, recheck_seconds: 5, steady_seconds: 5 };
    let report = run(&controller, size).await?;
    let expected = [
        ("status of a pod", Some(0)),
        ("new pod of a Deployment", Some(0)),
        // The sidecar's consumers are known.
        ("pod with a new image", Some(10)),
    ];
    assert_eq!(changes(&report), expected);
    assert_eq!(report.sources, Some(30 + 1 + 10), "references, sidecar and new images");
    for start in &report.starts {
        // Two pages of pods, one of each other kind.
        assert_eq!((start.lists["pods"], start.lists["deployments"], start.lists["nodes"]), (2, 1, 1));
    }
    let text = tables(&report);
    assert!(text.contains("pod with a new image") && text.contains("resident"), "{text}");
    Ok(())
}

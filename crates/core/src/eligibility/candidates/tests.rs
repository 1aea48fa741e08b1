use k8s_openapi::api::core::v1::PodSpec;
use serde_json::json;

use super::*;
use crate::Digest;
use crate::eligibility::record_view::{Freshness, VariantPolicy};
use crate::eligibility::runtime::Runtime;
use crate::eligibility::{Node, NodeSet, Placement, RecordView};
use crate::record::{ImageConversion, ImageConversionSpec};
use crate::sweep::Confirmations;

const APP: &str = "r.example/app:v1";

/// Record whose variant was converted for `platforms`.
fn record(platforms: &[&str]) -> RecordView {
    let digest = Digest::sha256_of(b"one");
    let platforms: Vec<_> = platforms
        .iter()
        .map(|platform| {
            json!({"platform": platform, "sourceBytes": 2, "variantBytes": 1, "layers": 1, "convertedLayers": 1})
        })
        .collect();
    let time = "2026-11-23T12:00:00Z";
    let mut record = ImageConversion::new("a", ImageConversionSpec { source: APP.parse().unwrap() });
    record.status = serde_json::from_value(json!({
        "source": {"digest": digest, "checkedAt": time},
        "variant": {"sourceDigest": digest, "reference": format!("r.example/app:v1-zstd@{digest}"),
            "settings": "", "platforms": platforms, "verifiedAt": time, "durationMilliseconds": 1},
        "conditions": [{"type": "Ready", "status": "True", "reason": "Verified", "message": "",
            "lastTransitionTime": time}],
    }))
    .unwrap();
    record.into()
}

/// Checks a variant of `platforms` on nodes, each given as `NAME PLATFORM RUNTIME`; `-` for an unknown one.
fn check(platforms: &[&str], written: &str, nodes: &[&str]) -> Result<(), (Reason, Option<String>)> {
    let mut set = NodeSet::default();
    for node in nodes {
        let [name, platform, runtime] = node.split(' ').collect::<Vec<_>>()[..] else { panic!("{node}") };
        set.insert(Node {
            name: name.to_owned(),
            labels: [("kubernetes.io/hostname".to_owned(), name.to_owned())].into(),
            taints: Vec::new(),
            platform: (platform != "-").then(|| platform.parse().unwrap()),
            runtime: (runtime != "-").then(|| Runtime::new(runtime)),
        });
    }
    let record = record(platforms);
    let policy = VariantPolicy { max_staleness: std::time::Duration::MAX, ..VariantPolicy::default() };
    let freshness = Freshness { template_time: None, pulled_always: false };
    let variant =
        record.variant(&policy, freshness, &Confirmations::default(), jiff::Timestamp::now()).unwrap();
    let spec: PodSpec = serde_json::from_value(json!({"containers": []})).unwrap();
    let candidates = Candidates { nodes: set.candidates(&Placement::of(&spec)), future: None };
    let runtimes = SupportedRuntimes::parse([("containerd", "1.5"), ("cri-o", "1.16")]).unwrap();
    candidates
        .check(variant, written, &runtimes)
        .map_err(|blocked| (blocked.reason, blocked.candidate.map(|candidate| candidate.to_string())))
}

#[test]
fn old_runtime_blocks_only_a_converted_platform() {
    let (new, old) = ("a linux/amd64 containerd://2.1.6", "b linux/amd64 containerd://1.4.13");
    assert_eq!(check(&["linux/amd64"], APP, &[new]), Ok(()));
    let node = "node b (linux/amd64 with containerd://1.4.13)".to_owned();
    assert_eq!(check(&["linux/amd64"], APP, &[new, old]), Err((Reason::RuntimeUnsupported, Some(node))));
    // The node gets the unconverted entry, as with the source.
    assert_eq!(check(&["linux/amd64"], APP, &[new, "b linux/arm64 containerd://1.4.13"]), Ok(()));
    // Docker starts an image of another platform, if it can.
    let docker = check(&["linux/amd64"], APP, &[new, "b linux/arm64 docker://20.10.7"]);
    assert_eq!(docker.unwrap_err().0, Reason::RuntimeUnsupported);
}

#[test]
fn one_candidate_with_a_converted_platform_suffices() {
    let (amd, arm) = ("a linux/amd64 containerd://2.1.6", "b linux/arm64 containerd://2.1.6");
    assert_eq!(check(&["linux/amd64"], APP, &[amd, arm]), Ok(()));
    assert_eq!(check(&["linux/amd64", "linux/arm64"], APP, &[amd, arm]), Ok(()));
    assert_eq!(check(&["linux/amd64"], APP, &[arm]), Err((Reason::PlatformNotCovered, None)));
    assert_eq!(check(&["linux/amd64"], APP, &[]), Err((Reason::NoCandidateNode, None)));
}

#[test]
fn windows_node_blocks_only_a_converted_windows_image() {
    let (amd, windows) = ("a linux/amd64 containerd://2.1.6", "w windows/amd64 containerd://1.7.1");
    assert_eq!(check(&["linux/amd64"], APP, &[amd, windows]), Ok(()));
    assert_eq!(check(&["linux/amd64"], APP, &[amd, "w windows/amd64 docker://20.10.9"]), Ok(()));
    assert_eq!(
        check(&["linux/amd64", "windows/amd64"], APP, &[amd, windows]).unwrap_err().0,
        Reason::Windows
    );
}

#[test]
fn unreported_node_blocks() {
    let amd = "a linux/amd64 containerd://2.1.6";
    for node in ["b - containerd://1.4.13", "b linux/amd64 -", "b - -"] {
        assert_eq!(
            check(&["linux/amd64"], APP, &[amd, node]).unwrap_err().0,
            Reason::RuntimeUnsupported,
            "{node}"
        );
    }
    assert_eq!(check(&["linux/amd64"], APP, &[amd, "b - containerd://2.1.6"]), Ok(()));
}

#[test]
fn name_without_a_host_is_ambiguous_on_crio() {
    let (crio, containerd) = ("a linux/amd64 cri-o://1.31.0", "b linux/amd64 containerd://2.1.6");
    assert_eq!(check(&["linux/amd64"], APP, &[crio, containerd]), Ok(()));
    for short in ["app:v1", "team/app"] {
        assert_eq!(check(&["linux/amd64"], short, &[containerd]), Ok(()));
        let blocked = check(&["linux/amd64"], short, &[crio, containerd]).unwrap_err();
        let node = "node a (linux/amd64 with cri-o://1.31.0)".to_owned();
        assert_eq!(blocked, (Reason::AmbiguousName, Some(node)));
    }
}

#[test]
fn future_nodes_need_one_converted_platform() {
    let record = record(&["linux/amd64"]);
    let policy = VariantPolicy { max_staleness: std::time::Duration::MAX, ..VariantPolicy::default() };
    let freshness = Freshness { template_time: None, pulled_always: false };
    let variant =
        record.variant(&policy, freshness, &Confirmations::default(), jiff::Timestamp::now()).unwrap();
    let on = |platforms: Option<&[&str]>| {
        let platforms =
            platforms.map(|names| names.iter().map(|name| name.parse().unwrap()).collect::<BTreeSet<_>>());
        let candidates = Candidates { nodes: Vec::new(), future: Some(FutureNodes { platforms }) };
        candidates.check(variant, APP, &SupportedRuntimes::default()).map_err(|blocked| blocked.reason)
    };
    assert_eq!(on(None), Ok(()));
    assert_eq!(on(Some(&["linux/amd64"])), Ok(()));
    assert_eq!(on(Some(&["linux/arm64", "linux/amd64"])), Ok(()));
    assert_eq!(on(Some(&["linux/arm64"])), Err(Reason::PlatformNotCovered));
}

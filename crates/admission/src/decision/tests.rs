//! Decisions about the images of a pod.

use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};
use zstart_core::record::record_name;
use zstart_core::sweep::{ConfirmationKey, Confirmations, FreshnessSweepSpec, SWEEP, SweptRegistry};
use zstart_core::{Digest, FreshnessSweep, Reference};

use super::*;
use crate::fixture::{Cluster, node, pod, pod_of, record, variant_of};

mod nodes;

const APP: &str = "r.example/app:v1";

/// Returns the reason for the only image of a pod.
fn reason(cluster: &Cluster, pod: &Pod) -> Reason {
    let decisions = cluster.decide(pod);
    assert_eq!(decisions.len(), 1);
    let Decision { image: _, reason, blocker: _, replacement, original: _ } = &decisions[0];
    assert_eq!(replacement.is_some(), *reason == Reason::Rewritten);
    *reason
}

fn changed(mut value: Value, pointer: &str, new: Value) -> Value {
    *value.pointer_mut(pointer).unwrap() = new;
    value
}

#[test]
fn ready_record_rewrites_the_image() {
    let decisions = Cluster::with_records(&[APP]).decide(&pod_of(APP));
    assert_eq!(decisions[0].reason, Reason::Rewritten);
    assert_eq!(decisions[0].replacement, Some(variant_of(APP)));
    assert_eq!(decisions[0].original.as_deref(), Some(APP));
}

#[test]
fn short_name_finds_the_record_of_its_full_name() {
    let cluster = Cluster::with_records(&["docker.io/library/nginx:latest"]);
    assert_eq!(reason(&cluster, &pod_of("nginx")), Reason::Rewritten);
}

#[test]
fn digest_reference_is_rewritten_for_a_day() {
    let source = format!("r.example/app@{}", Digest::sha256_of(b"x"));
    let mut cluster = Cluster::with_records(&[&source]);
    cluster.now += jiff::SignedDuration::from_hours(24);
    assert_eq!(reason(&cluster, &pod_of(&source)), Reason::Rewritten);
    cluster.now += jiff::SignedDuration::from_secs(1);
    assert_eq!(reason(&cluster, &pod_of(&source)), Reason::RecordStale);
}

#[test]
fn audited_namespace_reports_and_changes_nothing() {
    let cluster = Cluster::with_records(&[APP]);
    let decisions = cluster.decide_in("audit", &pod_of(APP));
    assert_eq!((decisions[0].reason, &decisions[0].replacement), (Reason::Audited, &None));
    // An image that would not be rewritten keeps its own reason.
    assert_eq!(cluster.decide_in("audit", &pod_of("r.example/other:v1"))[0].reason, Reason::NoRecord);
}

#[test]
fn namespace_without_opt_in_is_not_rewritten() {
    let cluster = Cluster::with_records(&[APP]);
    for namespace in ["off", ""] {
        assert_eq!(cluster.decide_in(namespace, &pod_of(APP))[0].reason, Reason::NamespaceNotEnabled);
    }
}

#[test]
fn pod_exclusions_precede_image_decisions() {
    let cluster = Cluster::with_records(&[APP]);
    let with = |metadata: Value, spec: Value| {
        let mut value = json!({"metadata": metadata, "spec": spec});
        value["spec"]["containers"] = json!([{"name": "app", "image": APP}]);
        reason(&cluster, &pod(value))
    };
    let cases = [
        (json!({"labels": {"zstart.dev/rewrite": "disabled"}}), json!({}), Reason::PodOptedOut),
        (json!({"annotations": {"kubernetes.io/config.mirror": "x"}}), json!({}), Reason::MirrorPod),
        (
            json!({"ownerReferences": [{"apiVersion": "db.example/v1", "kind": "Database", "name": "d",
                "uid": "1", "controller": true}]}),
            json!({}),
            Reason::ForeignController,
        ),
        (json!({}), json!({"os": {"name": "windows"}}), Reason::Windows),
        (json!({}), json!({"nodeSelector": {"kubernetes.io/os": "windows"}}), Reason::Windows),
        (json!({}), json!({"nodeSelector": {"zone": "none"}}), Reason::NoCandidateNode),
        (json!({}), json!({"nodeName": "unheard-of"}), Reason::NoCandidateNode),
        (json!({}), json!({}), Reason::Rewritten),
    ];
    for (metadata, spec, expected) in cases {
        assert_eq!(with(metadata.clone(), spec.clone()), expected, "{metadata} {spec}");
    }
}

/// Sweep with a look at [`APP`] of this time, and these registries that don't answer.
fn sweep(looked_at: &str, unreachable: &[&str]) -> FreshnessSweep {
    let source: Reference = APP.parse().unwrap();
    let record = record(APP);
    let digest = record["status"]["source"]["digest"].as_str().unwrap().parse().unwrap();
    let mut confirmations = Confirmations::default();
    confirmations.insert(ConfirmationKey::new(&record_name(&source), &digest), looked_at.parse().unwrap());
    let registry = |registry: &&str| SweptRegistry {
        registry: (*registry).to_owned(),
        reachable: false,
        confirmed: 0,
        confirmed_since: None,
        unconfirmed: Vec::new(),
    };
    let spec = FreshnessSweepSpec {
        swept_at: Time(looked_at.parse().unwrap()),
        confirmed: 1,
        unconfirmed: 0,
        registries: unreachable.iter().map(registry).collect(),
        confirmations: ByteString(confirmations.to_bytes()),
    };
    FreshnessSweep::new(SWEEP, spec)
}

#[test]
fn sweep_keeps_an_old_record_in_use() {
    let old = |cluster: Cluster| {
        cluster.with_record(changed(record(APP), "/status/source/checkedAt", json!("2026-11-23T09:00:00Z")))
    };
    let cluster = old(Cluster::with_records(&[]));
    assert_eq!(reason(&cluster, &pod_of(APP)), Reason::RecordStale);
    let cluster = cluster.with_sweep(sweep("2026-11-23T11:59:00Z", &[]));
    assert_eq!(reason(&cluster, &pod_of(APP)), Reason::Rewritten);
    // A sweep that can't be read counts as none.
    let mut broken = sweep("2026-11-23T11:59:00Z", &[]);
    broken.spec.confirmations.0.pop();
    let cluster = cluster.with_sweep(broken);
    assert_eq!(reason(&cluster, &pod_of(APP)), Reason::RecordStale);
}

#[test]
fn original_on_a_node_is_kept_while_the_registry_is_away() {
    let with_image = |name: &str, zone: &str, image: &str| {
        let mut node = node(name, "amd64");
        node["metadata"]["labels"]["zone"] = json!(zone);
        node["status"]["images"] = json!([{"names": [image]}]);
        node
    };
    let away = sweep("2026-11-23T12:00:00Z", &["r.example"]);
    let cluster = Cluster::empty().with_record(record(APP)).with_node(with_image("a", "a", APP));
    assert_eq!(reason(&cluster, &pod_of(APP)), Reason::Rewritten);
    let cluster = cluster.with_sweep(away.clone());
    assert_eq!(reason(&cluster, &pod_of(APP)), Reason::RegistryUnreachable);
    // The kubelet asks the registry at each start, so the original is no help.
    let always = pod(json!({"metadata": {}, "spec": {"containers": [
        {"name": "app", "image": APP, "imagePullPolicy": "Always"}]}}));
    assert_eq!(reason(&cluster, &always), Reason::Rewritten);
    // Nodes that the pod can't run on don't count, and another registry neither.
    let cluster = cluster.with_node(with_image("b", "b", "r.example/other:v1"));
    let zone = |zone: &str| {
        pod(json!({"metadata": {}, "spec": {"nodeSelector": {"zone": zone}, "containers": [
            {"name": "app", "image": APP}]}}))
    };
    assert_eq!(reason(&cluster, &zone("a")), Reason::RegistryUnreachable);
    assert_eq!(reason(&cluster, &zone("b")), Reason::Rewritten);
    let cluster = cluster.with_sweep(sweep("2026-11-23T12:00:00Z", &["other.example"]));
    assert_eq!(reason(&cluster, &zone("a")), Reason::Rewritten);
}

#[test]
fn image_without_usable_record_is_not_rewritten() {
    let moved = Digest::sha256_of(b"moved");
    let cases = [
        (json!([]), Reason::RecordConverting, "/status/conditions"),
        (json!("2026-11-23T11:44:59Z"), Reason::RecordStale, "/status/source/checkedAt"),
        (json!(moved), Reason::SourceMoved, "/status/source/digest"),
        (
            json!(format!("elsewhere.example/app:v1@{moved}")),
            Reason::TargetNotAllowed,
            "/status/variant/reference",
        ),
        (json!("linux/arm64"), Reason::PlatformNotCovered, "/status/variant/platforms/0/platform"),
    ];
    for (value, expected, pointer) in cases {
        let cluster = Cluster::with_records(&[]).with_record(changed(record(APP), pointer, value));
        assert_eq!(reason(&cluster, &pod_of(APP)), expected, "{pointer}");
    }
    assert_eq!(reason(&Cluster::with_records(&[]), &pod_of(APP)), Reason::NoRecord);
}

#[test]
fn misnamed_or_unparsable_record_counts_as_absent() {
    let misnamed = changed(record("r.example/other:v1"), "/spec/source", json!(APP));
    assert_eq!(reason(&Cluster::with_records(&[]).with_record(misnamed), &pod_of(APP)), Reason::NoRecord);
    let forged = changed(record(APP), "/spec/source", json!("r.example/other:v1"));
    assert_eq!(reason(&Cluster::with_records(&[]).with_record(forged), &pod_of(APP)), Reason::NoRecord);
    let broken = changed(record(APP), "/status/variant/reference", json!("not a reference"));
    assert_eq!(reason(&Cluster::with_records(&[]).with_record(broken), &pod_of(APP)), Reason::NoRecord);
}

#[test]
fn variant_and_invalid_reference_are_not_rewritten() {
    let cluster = Cluster::with_records(&[APP]);
    assert_eq!(reason(&cluster, &pod_of(&variant_of(APP))), Reason::AlreadyVariant);
    assert_eq!(reason(&cluster, &pod_of("Not A Reference")), Reason::InvalidReference);
}

#[test]
fn authors_spelling_of_the_name_is_kept() {
    let cluster = Cluster::with_records(&["docker.io/team/app:v1"]);
    let replacement = cluster.decide(&pod_of("team/app:v1"))[0].replacement.clone().unwrap();
    assert!(replacement.starts_with("team/app:v1-zstd-"), "{replacement}");
}

#[test]
fn kept_and_signed_images_are_left_alone() {
    let mut cluster = Cluster::with_records(&[APP]);
    let mut kept = pod_of(APP);
    kept.metadata.annotations = Some([("zstart.dev/keep-images".to_owned(), "app".to_owned())].into());
    assert_eq!(reason(&cluster, &kept), Reason::ImageOptedOut);
    cluster.policy.signed_images = vec!["r.example/*".parse().unwrap()];
    assert_eq!(reason(&cluster, &pod_of(APP)), Reason::SignatureRequired);
    cluster.policy.signed_images.clear();
    let labels = json!({"zstart.dev/rewrite": "enabled", "policy.sigstore.dev/include": "true"});
    let namespace = json!({"metadata": {"name": "on", "labels": labels}});
    cluster.snapshot.apply_namespace(Event::Apply(crate::fixture::parse(namespace)));
    assert_eq!(reason(&cluster, &pod_of(APP)), Reason::SignatureRequired);
}

#[test]
fn restart_after_the_last_look_leaves_the_pod() {
    let cluster = Cluster::with_records(&[APP]);
    let restarted = |time: &str| {
        let mut pod = pod_of(APP);
        let annotation = ("kubectl.kubernetes.io/restartedAt".to_owned(), time.to_owned());
        pod.metadata.annotations = Some([annotation].into());
        reason(&cluster, &pod)
    };
    assert_eq!(restarted("2026-11-23T11:59:59Z"), Reason::Rewritten);
    assert_eq!(restarted("2026-11-23T12:00:01Z"), Reason::NotFresh);
    let new = json!({"ownerReferences": [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "app-1", "uid": "1", "controller": true},
    ]});
    let mut pod = pod_of(APP);
    pod.metadata = crate::fixture::parse(new);
    assert_eq!(reason(&cluster, &pod), Reason::NotFresh);
}

#[test]
fn held_owner_is_left_until_its_template_changes() {
    let cluster = Cluster::with_records(&[APP]);
    let owner = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "1"});
    let of_template = |revision: &str| {
        let mut pod = pod_of(APP);
        let mut reference = owner.clone();
        reference["controller"] = json!(true);
        let labels = json!({"controller-revision-hash": revision});
        pod.metadata = crate::fixture::parse(json!({"ownerReferences": [reference], "labels": labels}));
        pod
    };
    for revision in ["db-1", "db-2"] {
        let revision = json!({"metadata": {"name": revision, "namespace": "on",
            "creationTimestamp": "2026-11-23T11:00:00Z"}});
        cluster.snapshot.apply_revision(Event::Apply(crate::fixture::parse(revision)));
    }
    assert_eq!(reason(&cluster, &of_template("db-1")), Reason::Rewritten);
    let spec = json!({"owner": owner, "template": "controller-revision-hash=db-1",
        "reason": "RecreatedAfterRewrite", "message": ""});
    let name = zstart_core::owner_hold::hold_name(&crate::fixture::parse(owner.clone()));
    let hold = json!({"apiVersion": "zstart.dev/v1alpha1", "kind": "OwnerHold",
        "metadata": {"name": name, "namespace": "on"}, "spec": spec});
    cluster.snapshot.apply_hold(Event::Apply(crate::fixture::parse(hold.clone())));
    assert_eq!(reason(&cluster, &of_template("db-1")), Reason::OwnerOnHold);
    assert_eq!(reason(&cluster, &of_template("db-2")), Reason::Rewritten);
    cluster.snapshot.apply_hold(Event::Delete(crate::fixture::parse(hold)));
    assert_eq!(reason(&cluster, &of_template("db-1")), Reason::Rewritten);
}

#[test]
fn old_cache_leaves_every_pod() {
    let cluster = Cluster::with_records(&[APP]);
    let context = Context { stale_cache: Some("nodes"), ..cluster.context() };
    let decisions = decide(&pod_of(APP), "on", images(&pod_of(APP)), &context).images;
    assert_eq!((decisions[0].reason, &decisions[0].replacement), (Reason::CacheStale, &None));
}

/// Pod of [`pod_of`] that was rewritten to `variant` before.
fn rewritten_before(variant: &str) -> Pod {
    let originals = json!({"containers/app": APP}).to_string();
    let mut pod = pod_of(variant);
    pod.metadata.annotations = Some([("zstart.dev/originals".to_owned(), originals)].into());
    pod
}

#[test]
fn rewrite_is_kept_renewed_or_taken_back() {
    let cluster = Cluster::with_records(&[APP]);
    let decided = |cluster: &Cluster, namespace: &str, pod: &Pod| {
        let Decision { reason, replacement, original, .. } = cluster.decide_in(namespace, pod).remove(0);
        (reason, replacement, original)
    };
    let (app, variant) = (Some(APP.to_owned()), variant_of(APP));
    let kept = decided(&cluster, "on", &rewritten_before(&variant));
    assert_eq!(kept, (Reason::Rewritten, None, app.clone()));
    let old = format!("r.example/app:v1-zstd-000000000000@{}", Digest::sha256_of(b"old"));
    let renewed = decided(&cluster, "on", &rewritten_before(&old));
    assert_eq!(renewed, (Reason::Rewritten, Some(variant.clone()), app.clone()));
    // The original is right wherever the variant isn't.
    let without_record = Cluster::with_records(&[]);
    let restored = decided(&without_record, "on", &rewritten_before(&variant));
    assert_eq!(restored, (Reason::NoRecord, app.clone(), None));
    let mut opted_out = rewritten_before(&variant);
    opted_out.metadata.labels = Some([("zstart.dev/rewrite".to_owned(), "disabled".to_owned())].into());
    assert_eq!(decided(&cluster, "on", &opted_out), (Reason::PodOptedOut, app, None));
    let audited = decided(&without_record, "audit", &rewritten_before(&variant));
    assert_eq!(audited, (Reason::NoRecord, None, None));
    // A user's own tag may have the form of a variant's. The record tells.
    let by_tag = pod_of("r.example/app:v1-zstd-000000000000");
    assert_eq!(decided(&cluster, "on", &by_tag), (Reason::NoRecord, None, None));
    // Without the annotation, the variant is what the author wrote.
    assert_eq!(decided(&cluster, "on", &pod_of(&variant)), (Reason::AlreadyVariant, None, None));
}

#[test]
fn traced_decision_is_the_same_and_names_its_steps() {
    let cluster = Cluster::with_records(&[APP]);
    let pod = pod_of(APP);
    let (traced, _) = decide_traced::<Vec<trace::Step>>(&pod, "on", images(&pod), &cluster.context());
    assert_eq!(traced[0].0, cluster.decide(&pod)[0]);
    assert!(traced[0].1.iter().all(|step| step.passed), "{traced:?}");
    let steps: Vec<&str> = traced[0].1.iter().map(|step| step.text.as_str()).collect();
    assert_eq!(steps[0], "namespace on has the label zstart.dev/rewrite=enabled");
    assert_eq!(steps.last(), Some(&"1 candidate node of 1 class can start the variant"));
    let other = pod_of("r.example/other:v1");
    let (traced, _) = decide_traced::<Vec<trace::Step>>(&other, "on", images(&other), &cluster.context());
    let last = traced[0].1.last().unwrap();
    assert_eq!((last.passed, &*last.text), (false, "no record of r.example/other:v1 exists"));
}

#[test]
fn all_image_fields_are_rewritten() {
    let cluster = Cluster::with_records(&[APP]);
    let pod = pod(json!({"spec": {
        "initContainers": [{"name": "init", "image": APP}],
        "containers": [{"name": "none"}, {"name": "app", "image": APP}, {"name": "other", "image": "other"}],
        "ephemeralContainers": [{"name": "debug", "image": APP}],
        "volumes": [{"name": "empty", "emptyDir": {}}, {"name": "model", "image": {"reference": APP}}],
    }}));
    let decided: Vec<String> = cluster
        .decide(&pod)
        .iter()
        .map(|decision| {
            format!("{} {} {}", decision.image.field, decision.image.field.index, decision.reason)
        })
        .collect();
    assert_eq!(
        decided,
        [
            "initContainers/init 0 Rewritten",
            "containers/app 1 Rewritten",
            "containers/other 2 NoRecord",
            "ephemeralContainers/debug 0 Rewritten",
            "volumes/model 1 Rewritten",
        ]
    );
}

#[test]
fn only_new_ephemeral_containers_are_reviewed() {
    let with = |names: &[&str]| {
        let containers: Vec<Value> = names.iter().map(|name| json!({"name": name, "image": APP})).collect();
        pod(
            json!({"spec": {"containers": [{"name": "app", "image": APP}], "ephemeralContainers": containers}}),
        )
    };
    let images = new_ephemeral_images(&with(&["one", "two"]), &with(&["one"]));
    let places: Vec<String> = images.iter().map(|image| image.field.to_string()).collect();
    assert_eq!(places, ["ephemeralContainers/two"]);
}

#[test]
fn pull_policy_never_is_not_rewritten() {
    let cluster = Cluster::with_records(&[APP]);
    for policy in ["Never", "IfNotPresent", "Always"] {
        let expected = if policy == "Never" { Reason::NeverPulled } else { Reason::Rewritten };
        let container = json!({"name": "app", "image": APP, "imagePullPolicy": policy});
        for list in ["containers", "initContainers", "ephemeralContainers"] {
            let mut spec = json!({"containers": []});
            spec[list] = json!([container]);
            assert_eq!(reason(&cluster, &pod(json!({"spec": spec}))), expected, "{list} {policy}");
        }
        let volume = json!([{"name": "data", "image": {"reference": APP, "pullPolicy": policy}}]);
        let spec = json!({"containers": [], "volumes": volume});
        assert_eq!(reason(&cluster, &pod(json!({"spec": spec}))), expected, "volume {policy}");
    }
}

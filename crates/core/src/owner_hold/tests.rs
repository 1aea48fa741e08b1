use k8s_openapi::api::core::v1::Pod;
use kube::CustomResourceExt as _;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::keys;

fn owned(api_version: &str, kind: &str, labels: &serde_json::Value) -> Pod {
    let owner =
        json!({"apiVersion": api_version, "kind": kind, "name": "db", "uid": "1", "controller": true});
    let metadata = json!({"name": "db-0", "labels": labels, "ownerReferences": [owner]});
    let containers = json!([{"name": "app", "image": "r.example/app:v1"}]);
    serde_json::from_value(json!({"metadata": metadata, "spec": {"containers": containers}})).unwrap()
}

fn bare(image: &str, annotation: Option<&str>) -> Pod {
    let mut pod =
        json!({"metadata": {"name": "db"}, "spec": {"containers": [{"name": "app", "image": image}]}});
    if let Some(annotation) = annotation {
        pod["metadata"]["annotations"] = json!({keys::ORIGINALS: annotation});
    }
    serde_json::from_value(pod).unwrap()
}

fn hold_of(pod: &Pod) -> OwnerHoldSpec {
    OwnerHoldSpec {
        owner: Owner::of(&pod.metadata).unwrap(),
        template: hold_template(pod),
        reason: HoldReason::RecreatedAfterRewrite,
        message: String::new(),
    }
}

#[test]
fn crd_is_namespaced_and_immutable() {
    let crd = serde_json::to_value(OwnerHold::crd()).unwrap();
    assert_eq!(crd["spec"]["scope"], "Namespaced");
    assert_eq!(crd["spec"]["names"]["shortNames"][0], "hold");
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    assert_eq!(schema["x-kubernetes-validations"][0]["rule"], "self == oldSelf");
    let reasons = HoldReason::ALL.map(HoldReason::as_str);
    let words = &schema["properties"]["reason"];
    for reason in reasons {
        assert!(words.to_string().contains(reason), "{words}");
    }
}

#[test]
fn template_is_the_revision_label_of_the_owner_kind() {
    let labels = json!({"pod-template-hash": "a", "controller-revision-hash": "b"});
    for (api_version, kind, template) in [
        ("apps/v1", "ReplicaSet", "pod-template-hash=a"),
        ("apps/v1", "StatefulSet", "controller-revision-hash=b"),
        ("apps/v1", "DaemonSet", "controller-revision-hash=b"),
        ("apps.kruise.io/v1alpha1", "CloneSet", "controller-revision-hash=b"),
        // No template of its own, or several at once.
        ("batch/v1", "Job", ""),
        ("v1", "Service", ""),
    ] {
        assert_eq!(hold_template(&owned(api_version, kind, &labels)), template, "{kind}");
    }
    let without = owned("apps/v1", "ReplicaSet", &json!({}));
    assert!(hold_template(&without).starts_with("spec-hash="), "{}", hold_template(&without));
}

#[test]
fn spec_hash_ignores_the_rewrite_only() {
    let original = bare("r.example/app:v1", None);
    let rewritten =
        bare("r.example/app:v1-zstd-1a2b3c4d5e6f", Some(r#"{"containers/app":"r.example/app:v1"}"#));
    assert_eq!(hold_template(&original), hold_template(&rewritten));
    assert_ne!(hold_template(&original), hold_template(&bare("r.example/app:v2", None)));
}

#[test]
fn hold_applies_to_pods_of_its_owner_and_revision() {
    let pod =
        |revision: &str| owned("apps/v1", "StatefulSet", &json!({"controller-revision-hash": revision}));
    let hold = hold_of(&pod("a"));
    assert!(hold.applies_to(&pod("a").metadata));
    assert!(!hold.applies_to(&pod("b").metadata), "the template changed");
    let mut other = pod("a");
    if let Some(owners) = &mut other.metadata.owner_references {
        owners[0].uid = "2".to_owned();
    }
    assert!(!hold.applies_to(&other.metadata), "another object of the same name");
    assert!(!hold.applies_to(&bare("r.example/app:v1", None).metadata));
}

#[test]
fn hold_of_a_bare_pod_applies_to_its_name() {
    let hold = hold_of(&bare("r.example/app:v1", None));
    assert!(hold.owner.is_bare_pod());
    assert!(
        hold.applies_to(&bare("r.example/app:v2", None).metadata),
        "other webhooks may change the pod yet"
    );
    let generated: Pod = serde_json::from_value(json!({"metadata": {"generateName": "db"}})).unwrap();
    assert_eq!(Owner::of(&generated.metadata), None);
    assert!(!hold.applies_to(&generated.metadata));
    assert!(!hold.applies_to(&owned("apps/v1", "StatefulSet", &json!({})).metadata));
}

#[test]
fn hold_name_differs_by_uid() {
    let owner = Owner::of(&owned("apps/v1", "StatefulSet", &json!({})).metadata).unwrap();
    let name = hold_name(&owner);
    assert!(name.starts_with("statefulset-db-"), "{name}");
    assert_ne!(name, hold_name(&Owner { uid: "2".to_owned(), ..owner }));
}

proptest! {
    #[test]
    fn hold_name_is_a_valid_label_value(name in "[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?") {
        let owner = Owner { api_version: "apps/v1".into(), kind: "StatefulSet".into(), name, uid: "1".into() };
        let name = hold_name(&owner);
        prop_assert!(name.len() <= 63);
        prop_assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
        prop_assert!(name.starts_with(|first: char| first.is_ascii_lowercase()));
    }
}

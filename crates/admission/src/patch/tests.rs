use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use zstart_core::eligibility::Reason;

use super::*;
use crate::decision::Decision;
use crate::fixture::{Cluster, variant_of};

const APP: &str = "r.example/app:v1";
const SIDECAR: &str = "r.example/proxy:v2";

/// Returns the decisions about a pod in JSON, and the patch.
fn decide(cluster: &Cluster, object: &Value, annotate: Annotate) -> (Vec<Decision>, Option<Patch>) {
    let pod: Pod = serde_json::from_value(object.clone()).unwrap();
    let decisions = cluster.decide(&pod);
    let patch = build(&pod, &decisions, annotate);
    (decisions, patch)
}

fn raw(object: &Value) -> Box<RawValue> {
    RawValue::from_string(object.to_string()).unwrap()
}

fn applied(object: &Value, patch: &Patch) -> Value {
    let mut object = object.clone();
    json_patch::patch(&mut object, patch).unwrap();
    object
}

/// Returns the pod after the patch, if there is one.
fn patched(cluster: &Cluster, object: &Value) -> Value {
    decide(cluster, object, Annotate::Yes).1.map_or_else(|| object.clone(), |patch| applied(object, &patch))
}

fn rewritten(object: &Value) -> Value {
    let cluster = Cluster::with_records(&[APP, SIDECAR]);
    applied(object, &decide(&cluster, object, Annotate::Yes).1.unwrap())
}

fn originals(object: &Value) -> Value {
    serde_json::from_str(object["metadata"]["annotations"][keys::ORIGINALS].as_str().unwrap()).unwrap()
}

#[test]
fn patch_tests_then_replaces_and_records_the_original() {
    let object = json!({"metadata": {"generateName": "app-"}, "spec": {"containers": [{"name": "app", "image": APP}]}});
    let (_, patch) = decide(&Cluster::with_records(&[APP]), &object, Annotate::Yes);
    insta::assert_json_snapshot!(patch.unwrap());
}

#[test]
fn pod_without_rewrite_gets_no_patch() {
    let object = json!({"metadata": {}, "spec": {"containers": [{"name": "app", "image": "other"}]}});
    assert_eq!(decide(&Cluster::with_records(&[APP]), &object, Annotate::Yes).1, None);
}

#[test]
fn existing_annotations_are_kept() {
    let object = json!({"metadata": {"annotations": {"a/b~c": "d"}},
        "spec": {"containers": [{"name": "app", "image": APP}]}});
    let after = rewritten(&object);
    assert_eq!(after["metadata"]["annotations"]["a/b~c"], "d");
    assert_eq!(originals(&after), json!({"containers/app": APP}));
    let empty = json!({"metadata": {"annotations": {}}, "spec": object["spec"]});
    assert_eq!(originals(&rewritten(&empty)), json!({"containers/app": APP}));
}

#[test]
fn reinvocation_changes_nothing() {
    let object = json!({"metadata": {}, "spec": {"containers": [{"name": "app", "image": APP}]}});
    let after = rewritten(&object);
    let cluster = Cluster::with_records(&[APP]);
    assert_eq!(decide(&cluster, &after, Annotate::Yes).1, None);
}

#[test]
fn reinvocation_keeps_recorded_originals() {
    let object = json!({"metadata": {}, "spec": {"containers": [{"name": "app", "image": APP}]}});
    let mut after = rewritten(&object);
    after["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "proxy", "image": SIDECAR}));
    let again = rewritten(&after);
    assert_eq!(originals(&again), json!({"containers/app": APP, "containers/proxy": SIDECAR}));
    assert_eq!(again["spec"]["containers"][0]["image"], json!(variant_of(APP)));
}

#[test]
fn stale_originals_are_dropped_with_a_rewrite() {
    // Annotation of a pod that was copied from a rewritten pod and changed, and an invalid annotation.
    for note in
        [r#"{"containers/app":"r.example/old:v0","containers/gone":"x","volumes/app":"y"}"#, "nonsense"]
    {
        let object = json!({"metadata": {"annotations": {keys::ORIGINALS: note}},
            "spec": {"containers": [{"name": "app", "image": APP}]}});
        assert_eq!(originals(&rewritten(&object)), json!({"containers/app": APP}));
    }
}

#[test]
fn stale_originals_are_dropped_without_a_rewrite() {
    let cases = [
        // No entry is current: the pod was copied and got an image without a variant.
        ("nginx", json!({"containers/app": APP}).to_string(), None),
        ("nginx", "nonsense".to_owned(), None),
        // One of two entries is current.
        (
            &*variant_of(APP),
            json!({"containers/app": APP, "containers/gone": "x"}).to_string(),
            Some(json!({"containers/app": APP})),
        ),
    ];
    for (image, note, left) in cases {
        let object = json!({"metadata": {"annotations": {"a/b": "c", keys::ORIGINALS: note}},
            "spec": {"containers": [{"name": "app", "image": image}]}});
        let after = rewritten(&object);
        assert_eq!(without_note(after.clone()), without_note(object));
        let noted = after["metadata"]["annotations"].get(keys::ORIGINALS).map(|_| originals(&after));
        assert_eq!(noted, left, "{image}");
        assert_eq!(decide(&Cluster::with_records(&[APP]), &after, Annotate::Yes).1, None, "{image}");
    }
}

#[test]
fn image_volume_reference_is_patched() {
    let object = json!({"metadata": {}, "spec": {"containers": [], "volumes": [
        {"name": "empty", "emptyDir": {}},
        {"name": "model", "image": {"reference": APP, "pullPolicy": "Always"}},
    ]}});
    let after = rewritten(&object);
    let volume = json!({"name": "model", "image": {"reference": variant_of(APP), "pullPolicy": "Always"}});
    assert_eq!(after["spec"]["volumes"][1], volume);
    assert_eq!(originals(&after), json!({"volumes/model": APP}));
}

#[test]
fn ephemeral_container_update_gets_no_annotation() {
    let object = json!({"metadata": {}, "spec": {"containers": [], "ephemeralContainers": [
        {"name": "debug", "image": APP},
    ]}});
    let (_, patch) = decide(&Cluster::with_records(&[APP]), &object, Annotate::No);
    let after = applied(&object, &patch.unwrap());
    assert_eq!(after["metadata"], json!({}));
    assert_eq!(after["spec"]["ephemeralContainers"][0]["image"], json!(variant_of(APP)));
}

#[test]
fn patch_does_not_apply_to_another_pod() {
    let object = json!({"metadata": {}, "spec": {"containers": [{"name": "app", "image": APP}]}});
    let patch = decide(&Cluster::with_records(&[APP]), &object, Annotate::Yes).1.unwrap();
    assert!(applies_to(&patch, Some(&raw(&object))));
    let other = json!({"metadata": {}, "spec": {"containers": [{"name": "app", "image": SIDECAR}]}});
    assert!(!applies_to(&patch, Some(&raw(&other))));
}

fn name() -> impl Strategy<Value = String> {
    "[a-z]{1,3}"
}

fn image() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => Just(json!(APP)), 2 => Just(json!(SIDECAR)), 1 => Just(json!("nginx")), 1 => Just(json!("")),
        1 => Just(json!(variant_of(APP))), 1 => "\\PC{0,12}".prop_map(Value::from), 1 => Just(Value::Null),
    ]
}

/// Fields that zstart must not touch.
fn other_fields() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        Just(json!({"unknown": {"image": APP}})),
        Just(json!({"fromTheFuture": [1, null]}))
    ]
}

fn container() -> impl Strategy<Value = Value> {
    (name(), image(), other_fields()).prop_map(|(name, image, mut fields)| {
        fields["name"] = json!(name);
        fields["image"] = image;
        fields
    })
}

fn volume() -> impl Strategy<Value = Value> {
    prop_oneof![
        name().prop_map(|name| json!({"name": name, "emptyDir": {}})),
        (name(), image()).prop_map(|(name, image)| json!({"name": name, "image": {"reference": image}})),
    ]
}

/// Drops entries whose name exists already: the API server refuses them.
fn with_unique_names(entries: Vec<Value>) -> Vec<Value> {
    let mut names = BTreeSet::new();
    entries.into_iter().filter(|entry| names.insert(entry["name"].to_string())).collect()
}

fn a_pod() -> impl Strategy<Value = Value> {
    let containers = || prop::collection::vec(container(), 0..4);
    let annotations = prop_oneof![
        Just(Value::Null),
        Just(json!({})),
        Just(json!({"a/b": "c"})),
        Just(json!({keys::ORIGINALS: "{\"containers/a\":\"x\"}"})),
        Just(json!({keys::ORIGINALS: "]"})),
    ];
    (
        annotations,
        containers(),
        containers(),
        containers(),
        prop::collection::vec(volume(), 0..4),
        other_fields(),
    )
        .prop_map(|(annotations, init, containers, ephemeral, volumes, mut fields)| {
            let [init, containers, ephemeral, volumes] =
                [init, containers, ephemeral, volumes].map(with_unique_names);
            fields["metadata"] = json!({"generateName": "a-"});
            if !annotations.is_null() {
                fields["metadata"]["annotations"] = annotations;
            }
            fields["spec"] = json!({
                "initContainers": init, "containers": containers, "ephemeralContainers": ephemeral,
                "volumes": volumes,
            });
            fields
        })
}

/// Returns the pod that the decisions lead to, computed without the patch.
fn expected(object: &Value, decisions: &[Decision]) -> Value {
    let mut object = object.clone();
    for decision in decisions {
        let Some(replacement) = &decision.replacement else { continue };
        let field = &decision.image.field;
        let entry = &mut object["spec"][field.list.as_str()][field.index];
        let slot = if entry.get("emptyDir").is_none() && entry["image"].is_object() {
            &mut entry["image"]["reference"]
        } else {
            &mut entry["image"]
        };
        *slot = json!(replacement);
    }
    object
}

fn without_note(mut object: Value) -> Value {
    if let Some(annotations) = object["metadata"].get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(keys::ORIGINALS);
        if annotations.is_empty() {
            object["metadata"].as_object_mut().map(|metadata| metadata.remove("annotations"));
        }
    }
    object
}

proptest! {
    #[test]
    fn patched_pod_differs_only_by_its_decisions(object in a_pod()) {
        let cluster = Cluster::with_records(&[APP, SIDECAR]);
        let (decisions, patch) = decide(&cluster, &object, Annotate::Yes);
        let rewrites: Vec<&Decision> =
            decisions.iter().filter(|decision| decision.reason == Reason::Rewritten).collect();
        match patch {
            None => prop_assert!(decisions.iter().all(|decision| decision.replacement.is_none())),
            Some(patch) => {
                let after = applied(&object, &patch);
                prop_assert!(applies_to(&patch, Some(&raw(&object))));
                prop_assert_eq!(without_note(after.clone()), without_note(expected(&object, &decisions)));
                for decision in rewrites {
                    let noted: Map<String, Value> = serde_json::from_value(originals(&after)).unwrap();
                    prop_assert!(noted.contains_key(&decision.image.field.to_string()));
                }
            }
        }
    }

    #[test]
    fn patch_applies_to_a_pod_exactly_if_it_does_to_the_whole(object in a_pod(), mut other in a_pod()) {
        // Most pods differ in all lists. Some differ in few.
        for list in ["containers", "initContainers"] {
            if other["spec"][list].as_array().is_some_and(|list| list.len() > 1) {
                other["spec"][list] = object["spec"][list].clone();
            }
        }
        let cluster = Cluster::with_records(&[APP, SIDECAR]);
        if let Some(patch) = decide(&cluster, &object, Annotate::Yes).1 {
            let applies = json_patch::patch(&mut other.clone(), &patch).is_ok();
            prop_assert_eq!(applies_to(&patch, Some(&raw(&other))), applies);
        }
    }

    #[test]
    fn second_patch_changes_nothing(object in a_pod()) {
        let cluster = Cluster::with_records(&[APP, SIDECAR]);
        let once = patched(&cluster, &object);
        prop_assert_eq!(decide(&cluster, &once, Annotate::Yes).1, None);
    }

    #[test]
    fn rewrite_that_is_taken_back_gives_the_pod(object in a_pod()) {
        let object = without_note(object);
        let once = patched(&Cluster::with_records(&[APP, SIDECAR]), &object);
        let back = patched(&Cluster::with_records(&[]), &once);
        prop_assert_eq!(without_note(back), object);
    }
}

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;

fn read(object: &Value) -> Pod {
    serde_json::from_str::<ReviewedPod>(&object.to_string()).unwrap().into()
}

#[test]
fn reduced_pod_has_all_fields_of_decisions() {
    // Fields that no decision reads are absent, so both ways of reading give the same pod.
    let object = json!({
        "metadata": {
            "name": "app", "generateName": "app-", "namespace": "shop", "uid": "1", "labels": {"a": "b"},
            "annotations": {"c": "d"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "app", "uid": "2", "controller": true}],
            "managedFields": [{"manager": "kubectl", "operation": "Apply", "fieldsV1": {"f:metadata": {}}}],
        },
        "spec": {
            "containers": [{"name": "app", "image": "a:1", "imagePullPolicy": "Always"}, {"name": "bare"}],
            "initContainers": [{"name": "init", "image": "b:1"}],
            "ephemeralContainers": [{"name": "debug", "image": "c:1", "imagePullPolicy": "Never"}],
            "volumes": [{"name": "model", "image": {"reference": "d:1", "pullPolicy": "Always"}}, {"name": "empty"}],
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]},
            ]}}},
            "nodeName": "node", "nodeSelector": {"pool": "x"}, "os": {"name": "linux"}, "schedulerName": "default",
            "tolerations": [{"operator": "Exists"}],
        },
    });
    assert_eq!(read(&object), serde_json::from_value(object).unwrap());
}

#[test]
fn absent_and_null_fields_are_read_as_kubernetes_does() {
    let objects = [
        json!({}),
        json!({"metadata": null, "spec": null}),
        json!({"metadata": {}, "spec": {"containers": null, "initContainers": [], "nodeSelector": null}}),
        json!({"spec": {"containers": [{"name": null, "image": null}], "affinity": {}, "volumes": [{"image": {}}]}}),
    ];
    for object in objects {
        assert_eq!(read(&object), serde_json::from_value(object.clone()).unwrap(), "{object}");
    }
}

#[test]
fn other_fields_are_skipped_in_any_form() {
    let object =
        json!({"status": 7, "spec": {"containers": [{"name": "app", "env": "future"}], "hostNetwork": []}});
    assert_eq!(read(&object).spec.unwrap().containers[0].name, "app");
}

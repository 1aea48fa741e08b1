use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use zstart_admission::fixture::{Cluster, ages, node, record, variant_of};

const APP: &str = "r.example/app:v1";

fn handler() -> (Handler, Timestamp) {
    let Cluster { snapshot, policy, now } = Cluster::with_records(&[APP]);
    let snapshot = Arc::new(snapshot);
    let metrics = Arc::new(Metrics::new(Arc::clone(&snapshot), ages()));
    (Handler::new(snapshot, ages(), policy, metrics), now)
}

fn review(operation: &str, sub_resource: &str, object: &Value, old: &Value) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "7", "resource": {"group": "", "version": "v1", "resource": "pods"},
        "subResource": sub_resource, "namespace": "on", "operation": operation, "userInfo": {},
        "object": object, "oldObject": old,
    }})
}

/// Returns the response, and the object as the API server would store it.
fn answer(handler: &Handler, now: Timestamp, review: &Value) -> (Value, Value) {
    let reviewed = handler.review(review.to_string().as_bytes(), now).unwrap();
    let answer: Value = serde_json::from_slice(&reviewed.response.to_review().unwrap()).unwrap();
    let response = answer["response"].clone();
    assert_eq!((&response["uid"], &response["allowed"]), (&json!("7"), &json!(true)));
    let mut object = review["request"]["object"].clone();
    if let Some(patch) = response["patch"].as_str() {
        assert_eq!(response["patchType"], "JSONPatch");
        let patch: Patch = serde_json::from_slice(&STANDARD.decode(patch).unwrap()).unwrap();
        json_patch::patch(&mut object, &patch).unwrap();
    }
    (response, object)
}

fn pod() -> Value {
    json!({"metadata": {"generateName": "app-"}, "spec": {"containers": [{"name": "app", "image": APP}]}})
}

#[test]
fn new_pod_is_patched_with_decisions_in_the_audit_log() {
    let (handler, now) = handler();
    let (response, after) = answer(&handler, now, &review("CREATE", "", &pod(), &Value::Null));
    assert_eq!(after["spec"]["containers"][0]["image"], json!(variant_of(APP)));
    assert_eq!(response["auditAnnotations"]["decisions"], r#"{"containers/app":"Rewritten"}"#);
    let text = handler.metrics.text().unwrap();
    for line in [
        r#"zstart_webhook_images_total{reason="Rewritten"} 1"#,
        r#"zstart_webhook_cached_objects{resource="imageconversions"} 1"#,
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn blocking_node_is_in_the_audit_log() {
    let mut old = node("old", "amd64");
    old["status"]["nodeInfo"]["containerRuntimeVersion"] = json!("containerd://1.4.1");
    let Cluster { snapshot, policy, now } = Cluster::with_records(&[APP]).with_node(old);
    let snapshot = Arc::new(snapshot);
    let metrics = Arc::new(Metrics::new(Arc::clone(&snapshot), ages()));
    let handler = Handler::new(snapshot, ages(), policy, metrics);
    let (response, _) = answer(&handler, now, &review("CREATE", "", &pod(), &Value::Null));
    let blockers = r#"{"containers/app":"node old (linux/amd64 with containerd://1.4.1)"}"#;
    assert_eq!(response["auditAnnotations"]["blockers"], blockers);
}

#[test]
fn author_of_an_audited_bare_pod_is_warned() {
    let (handler, now) = handler();
    let mut audited = review("CREATE", "", &pod(), &Value::Null);
    audited["request"]["namespace"] = json!("audit");
    let warning =
        "zstart audits this namespace: containers/app (r.example/app:v1) would run as its zstd variant";
    assert_eq!(answer(&handler, now, &audited).0["warnings"], json!([warning]));
    let owner =
        json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "a", "uid": "1", "controller": true}]);
    audited["request"]["object"]["metadata"]["ownerReferences"] = owner;
    assert_eq!(answer(&handler, now, &audited).0.get("warnings"), None);
    assert_eq!(answer(&handler, now, &review("CREATE", "", &pod(), &Value::Null)).0.get("warnings"), None);
}

#[test]
fn dry_run_is_patched_and_not_counted() {
    let (handler, now) = handler();
    let mut review = review("CREATE", "", &pod(), &Value::Null);
    review["request"]["dryRun"] = json!(true);
    let (_, after) = answer(&handler, now, &review);
    assert_eq!(after["spec"]["containers"][0]["image"], json!(variant_of(APP)));
    let text = handler.metrics.text().unwrap();
    assert!(text.contains(r#"images_total{reason="Rewritten"} 0"#), "{text}");
    assert_eq!(handler.review(review.to_string().as_bytes(), now).unwrap().outcome, None);
}

#[test]
fn probe_pod_is_answered_by_a_warning_in_dry_runs_only() {
    let (handler, now) = handler();
    let mut probe = pod();
    probe["metadata"]["annotations"] = json!({"zstart.dev/probe": "true"});
    let dry_run = |object: &Value, dry_run: bool| {
        let mut review = review("CREATE", "", object, &Value::Null);
        review["request"]["dryRun"] = json!(dry_run);
        answer(&handler, now, &review).0["warnings"].clone()
    };
    assert_eq!(
        dry_run(&probe, true),
        json!([format!(
            "reviewed by zstart-webhook {} (containers/app Rewritten)",
            env!("CARGO_PKG_VERSION")
        )])
    );
    assert_eq!(dry_run(&probe, false), Value::Null);
    assert_eq!(dry_run(&pod(), true), Value::Null);
}

#[test]
fn reinvoked_pod_is_counted_once() {
    let (handler, now) = handler();
    let (_, once) = answer(&handler, now, &review("CREATE", "", &pod(), &Value::Null));
    let (_, twice) = answer(&handler, now, &review("CREATE", "", &once, &Value::Null));
    assert_eq!(twice, once);
    let text = handler.metrics.text().unwrap();
    assert!(text.contains(r#"images_total{reason="Rewritten"} 1"#), "{text}");
    let own = r#"images_total{reason="AlreadyVariant"} 0"#;
    assert!(text.contains(own), "counted its own rewrite: {text}");
}

#[test]
fn inapplicable_patch_is_left_out_and_reported() {
    let (handler, now) = handler();
    // No API server sends such a pod: the annotation has no metadata to be added to.
    let mut object = pod();
    object.as_object_mut().unwrap().remove("metadata");
    let (response, after) = answer(&handler, now, &review("CREATE", "", &object, &Value::Null));
    assert_eq!(after, object);
    assert_eq!(response["auditAnnotations"]["decisions"], r#"{"containers/app":"Failed"}"#);
    let text = handler.metrics.text().unwrap();
    assert!(text.contains(r#"images_total{reason="Failed"} 1"#), "{text}");
    assert!(text.contains(r#"images_total{reason="Rewritten"} 0"#), "{text}");
}

#[test]
fn originals_of_an_excluded_pod_are_unchanged() {
    let (handler, now) = handler();
    let mut object = pod();
    object["metadata"]["annotations"] = json!({"zstart.dev/originals": r#"{"containers/gone":"x"}"#});
    object["spec"]["containers"][0]["image"] = json!("nginx");
    let mut audited = review("CREATE", "", &object, &Value::Null);
    audited["request"]["namespace"] = json!("audit");
    assert_eq!(answer(&handler, now, &audited).1, object);
    object["metadata"]["labels"] = json!({"zstart.dev/rewrite": "disabled"});
    assert_eq!(answer(&handler, now, &review("CREATE", "", &object, &Value::Null)).1, object);
    object["metadata"]["labels"] = json!({});
    let (_, after) = answer(&handler, now, &review("CREATE", "", &object, &Value::Null));
    assert_eq!(after["metadata"]["annotations"], json!({}));
}

#[test]
fn pod_update_is_not_patched() {
    let (handler, now) = handler();
    for (operation, sub_resource) in
        [("UPDATE", ""), ("DELETE", ""), ("CREATE", "binding"), ("UPDATE", "status")]
    {
        let (response, after) = answer(&handler, now, &review(operation, sub_resource, &pod(), &pod()));
        assert_eq!(after, pod());
        assert_eq!(response.get("auditAnnotations"), None);
    }
}

#[test]
fn only_a_new_ephemeral_container_is_patched() {
    let (handler, now) = handler();
    let mut old = pod();
    old["spec"]["ephemeralContainers"] = json!([{"name": "one", "image": APP}]);
    let mut new = old.clone();
    new["spec"]["ephemeralContainers"].as_array_mut().unwrap().push(json!({"name": "two", "image": APP}));
    let (_, after) = answer(&handler, now, &review("UPDATE", "ephemeralcontainers", &new, &old));
    let mut expected = new;
    expected["spec"]["ephemeralContainers"][1]["image"] = json!(variant_of(APP));
    assert_eq!(after, expected);
}

#[test]
fn unparsable_pod_is_admitted_unchanged() {
    let (handler, now) = handler();
    for object in [Value::Null, json!([]), json!({"spec": {"containers": "none"}}), json!({"metadata": 7})] {
        let (response, after) = answer(&handler, now, &review("CREATE", "", &object, &Value::Null));
        assert_eq!(after, object);
        assert_eq!(response.get("patch"), None);
    }
}

#[test]
fn oversized_pod_is_admitted_unparsed() {
    let (handler, now) = handler();
    let mut many = pod();
    many["spec"]["containers"][0]["env"] = vec![json!({}); MAX_POD_OBJECTS].into();
    let mut long = pod();
    long["metadata"]["annotations"] = json!({"a/b": "x".repeat(MAX_POD_BYTES)});
    for object in [many, long] {
        let (response, after) = answer(&handler, now, &review("CREATE", "", &object, &Value::Null));
        assert!(after == object && response.get("patch").is_none());
    }
    // A large real pod stays far below the limits.
    let mut large = pod();
    large["spec"]["containers"][0]["env"] = vec![json!({"name": "a", "value": "b"}); 5_000].into();
    let (response, _) = answer(&handler, now, &review("CREATE", "", &large, &Value::Null));
    assert!(response.get("patch").is_some());
}

#[test]
fn other_resource_is_admitted_unchanged() {
    let (handler, now) = handler();
    let mut review = review("CREATE", "", &pod(), &Value::Null);
    review["request"]["resource"] = json!({"group": "apps", "version": "v1", "resource": "deployments"});
    assert_eq!(answer(&handler, now, &review).1, pod());
}

#[test]
fn outcome_is_patched_or_unchanged() {
    let (handler, now) = handler();
    let outcome = |operation| {
        let review = review(operation, "", &pod(), &Value::Null).to_string();
        handler.review(review.as_bytes(), now).unwrap().outcome
    };
    assert_eq!((outcome("CREATE"), outcome("DELETE")), (Some(Outcome::Patched), Some(Outcome::Unchanged)));
    assert!(handler.review(b"{}", now).is_err());
}

#[test]
fn v1beta1_review_is_answered_in_v1beta1() {
    let (handler, now) = handler();
    let mut review = review("CREATE", "", &pod(), &Value::Null);
    review["apiVersion"] = json!("admission.k8s.io/v1beta1");
    let (_, after) = answer(&handler, now, &review);
    assert_eq!(after["spec"]["containers"][0]["image"], json!(variant_of(APP)));
    let reviewed = handler.review(review.to_string().as_bytes(), now).unwrap();
    let answer: Value = serde_json::from_slice(&reviewed.response.to_review().unwrap()).unwrap();
    assert_eq!(answer["apiVersion"], review["apiVersion"]);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        Just(json!(APP)),
    ];
    let key = prop_oneof![
        Just("spec".to_owned()),
        Just("metadata".to_owned()),
        Just("containers".to_owned()),
        Just("volumes".to_owned()),
        Just("image".to_owned()),
        Just("reference".to_owned()),
        Just("name".to_owned()),
        Just("annotations".to_owned()),
        "[a-z]{0,3}",
    ];
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_as_pod_is_admitted(object in any_json(), old in any_json()) {
        let (handler, now) = handler();
        for (operation, sub_resource) in [("CREATE", ""), ("UPDATE", "ephemeralcontainers")] {
            answer(&handler, now, &review(operation, sub_resource, &object, &old));
        }
    }

    #[test]
    fn handler_never_panics_on_any_bytes(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let (handler, now) = handler();
        let _ = handler.review(&body, now);
    }
}

/// Prints the duration of a review in large clusters. Asserts nothing.
/// `cargo test --release -p zstart-webhook -- --ignored --nocapture review_latency`
#[test]
#[ignore = "a measurement"]
fn review_latency_with_thousands_of_nodes_and_records() {
    const ROUNDS: u32 = 200;
    for count in [100, 1_000, 5_000] {
        let mut cluster = Cluster::with_records(&[APP]);
        for index in 0..count {
            let mut node = node(&format!("node-{index}"), "amd64");
            for label in 0..20 {
                node["metadata"]["labels"][format!("example.com/label-{label}")] =
                    json!(format!("{}", index % 7));
            }
            cluster = cluster.with_node(node).with_record(record(&format!("r.example/app-{index}:v1")));
        }
        let Cluster { snapshot, policy, now } = cluster;
        let snapshot = Arc::new(snapshot);
        let handler =
            Handler::new(Arc::clone(&snapshot), ages(), policy, Arc::new(Metrics::new(snapshot, ages())));
        let mut selecting = pod();
        selecting["spec"]["nodeSelector"] =
            json!({"example.com/label-3": "3", "kubernetes.io/arch": "amd64"});
        selecting["spec"]["tolerations"] = json!([{"key": "team", "operator": "Exists"}]);
        selecting["spec"]["affinity"] = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
        {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "example.com/label-4", "operator": "In", "values": ["1", "2", "3"]},
        ]}]}}});
        let mut unknown = pod();
        unknown["spec"]["containers"][0]["image"] = json!("r.example/unheard-of:v1");
        for (what, pod) in [("anywhere", pod()), ("selecting", selecting), ("no record", unknown)] {
            let body = review("CREATE", "", &pod, &Value::Null).to_string();
            let start = std::time::Instant::now();
            for _ in 0..ROUNDS {
                handler.review(body.as_bytes(), now).unwrap();
            }
            println!("{count:>5} nodes and records, {what:<9}: {:?} a review", start.elapsed() / ROUNDS);
        }
    }
}

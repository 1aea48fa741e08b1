use serde_json::{Value, json};

use super::*;

const API_VERSION: &str = "admission.k8s.io/v1";

fn parse(review: &Value) -> Result<ReviewRequest, ReviewError> {
    ReviewRequest::parse(review.to_string().as_bytes())
}

#[test]
fn review_is_parsed_and_unknown_fields_ignored() {
    let request = parse(&json!({
        "apiVersion": API_VERSION, "kind": KIND, "fromTheFuture": true,
        "request": {
            "uid": "7", "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "subResource": "ephemeralcontainers", "namespace": "on", "operation": "UPDATE",
            "userInfo": {"username": "someone"}, "object": {"a": 1}, "oldObject": null, "dryRun": true,
        },
    }))
    .unwrap();
    assert_eq!((request.uid.as_str(), request.namespace.as_deref()), ("7", Some("on")));
    assert_eq!(request.sub_resource.as_deref(), Some("ephemeralcontainers"));
    assert!(request.dry_run && request.old_object.is_none());
    assert_eq!(request.object.unwrap().get(), r#"{"a":1}"#);
}

#[test]
fn other_kind_or_version_is_refused_by_name() {
    assert!(matches!(ReviewRequest::parse(b"nonsense"), Err(ReviewError::Parse { .. })));
    for (version, kind) in [("admission.k8s.io/v2", KIND), (API_VERSION, "Pod")] {
        let error = parse(&json!({"apiVersion": version, "kind": kind})).unwrap_err().to_string();
        assert!(error.contains(version) && error.contains(kind), "{error}");
    }
    let empty = json!({"apiVersion": API_VERSION, "kind": KIND});
    assert!(matches!(parse(&empty), Err(ReviewError::Empty)));
}

#[test]
fn response_without_patch_has_no_patch_fields() {
    let review: Value =
        serde_json::from_slice(&ReviewResponse::admit("7".into(), ReviewVersion::V1).to_review().unwrap())
            .unwrap();
    let response = json!({"uid": "7", "allowed": true});
    assert_eq!(review, json!({"apiVersion": API_VERSION, "kind": KIND, "response": response}));
}

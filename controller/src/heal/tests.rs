//! Pods as a kubelet reports them.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use zstart_core::variant::{ContentHash, VariantNames};
use zstart_core::{Digest, Reference, keys};

use super::pod::FailingPod;

mod cures;
mod observations;
mod patches;

const ORIGINAL: &str = "r.example/app:v1";
const NOT_FOUND: &str = "failed to pull and unpack image: failed to resolve image: manifest unknown";
const REFUSED: &str =
    "failed to do request: Head \"https://r.example/v2/\": dial tcp: connect: connection refused";

/// Variant of `original`, as the webhook writes it.
fn variant_of(original: &str) -> String {
    let original: Reference = original.parse().unwrap();
    let source = original.digest().cloned().unwrap_or(Digest::sha256_of(b"source"));
    let digest = Digest::sha256_of(original.to_string().as_bytes());
    let tag = VariantNames::of(&original, &source).tag(&ContentHash::of([&digest], "zstart/3"));
    original.with_tag_and_digest(tag, digest).to_string()
}

/// Pod with these members of the specification, whose containers wait for these reasons and messages. `originals`
/// is the annotation.
fn pod(originals: &Value, spec: &Value, waiting: &[(&str, &str, &str, &str)]) -> Pod {
    let mut status =
        json!({"initContainerStatuses": [], "containerStatuses": [], "ephemeralContainerStatuses": []});
    for (list, name, reason, message) in waiting {
        let state = if reason.is_empty() {
            json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}})
        } else {
            json!({"waiting": {"reason": reason, "message": message}})
        };
        let container = json!({
            "name": name, "state": state, "image": "", "imageID": "", "ready": false, "restartCount": 0,
        });
        status[list].as_array_mut().unwrap().push(container);
    }
    let mut spec = spec.clone();
    spec["nodeName"] = json!("node");
    let mut metadata = json!({"name": "web", "namespace": "shop", "uid": "pod-1"});
    if !originals.is_null() {
        metadata["annotations"] = json!({ keys::ORIGINALS: originals.to_string(), "other": "kept" });
    }
    serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status})).unwrap()
}

/// Pod of one container `app` with the variant of [`ORIGINAL`].
fn simple(reason: &str, message: &str) -> Pod {
    let spec = json!({"containers": [{"name": "app", "image": variant_of(ORIGINAL)}]});
    pod(&json!({"containers/app": ORIGINAL}), &spec, &[("containerStatuses", "app", reason, message)])
}

fn failing(pod: &Pod) -> FailingPod {
    FailingPod::of(pod).unwrap()
}

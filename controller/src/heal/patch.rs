//! JSON Patch that puts containers back on their originals. Pure.
//!
//! The chart's admission policy (`charts/zstart/templates/controller/policy.yaml`) accepts exactly this change.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::decide::Case;
use super::pod::FailingPod;

/// JSON pointer of the annotation with the originals.
const ANNOTATION: &str = "/metadata/annotations/zstart.dev~1originals";

/// Returns the patch for `cases` of a pod: each image becomes its original, and the annotation loses its entry,
/// because an entry counts only while its field holds a variant. A test precedes each change, so that the patch
/// changes nothing if the pod or the image is another one by now.
pub(super) fn put_back(pod: &FailingPod, cases: &[Case<'_>]) -> Value {
    let mut operations = vec![json!({"op": "test", "path": "/metadata/uid", "value": pod.id.uid})];
    let mut originals: BTreeMap<&str, &str> =
        pod.originals.iter().map(|(field, original)| (field.as_str(), original.as_str())).collect();
    for case in cases {
        let Some(original) = &case.original else { continue };
        let field = &case.pull.image.field;
        let container = format!("/spec/{}/{}", field.list.as_str(), field.index);
        let image = format!("{container}/image");
        operations.extend([
            json!({"op": "test", "path": format!("{container}/name"), "value": field.name}),
            json!({"op": "test", "path": image, "value": case.pull.image.reference}),
            json!({"op": "replace", "path": image, "value": original.written}),
        ]);
        originals.remove(&*field.to_string());
    }
    operations.push(json!({"op": "test", "path": ANNOTATION, "value": pod.annotation}));
    operations.push(if originals.is_empty() {
        json!({"op": "remove", "path": ANNOTATION})
    } else {
        json!({"op": "replace", "path": ANNOTATION, "value": json!(originals).to_string()})
    });
    Value::Array(operations)
}

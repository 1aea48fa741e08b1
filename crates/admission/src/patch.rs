//! JSON Patch of a pod: the images that change, and the annotation that keeps the originals.
//!
//! Pure. A `test` precedes each `replace`, so that a patch never overwrites an image other than the one
//! that the decision was made for. Whole lists are never written.

use std::collections::BTreeMap;

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation, TestOperation};
use k8s_openapi::api::core::v1::Pod;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use zstart_core::keys;

use self::target::Target;
use crate::decision::{Decision, ImageField};

mod target;
#[cfg(test)]
mod tests;

/// Permission to change the annotation with the originals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Annotate {
    /// The review creates a pod, and the pod may be changed.
    Yes,
    /// The pod must stay unchanged, or the review is of `pods/ephemeralcontainers`: the API server keeps
    /// only the ephemeral containers of such an update and silently drops an annotation.
    No,
}

/// Returns the patch for `decisions` about `pod`, or `None` if nothing changes.
pub fn build(pod: &Pod, decisions: &[Decision], annotate: Annotate) -> Option<Patch> {
    let mut operations = Vec::with_capacity(decisions.len() * 2 + 2);
    for decision in decisions {
        let Some(replacement) = &decision.replacement else { continue };
        let path = image_pointer(&decision.image.field);
        let value = Value::from(decision.image.reference.clone());
        operations.push(PatchOperation::Test(TestOperation { path: path.clone(), value }));
        let value = Value::from(replacement.clone());
        operations.push(PatchOperation::Replace(ReplaceOperation { path, value }));
    }
    if annotate == Annotate::Yes {
        annotate_originals(pod, decisions, &mut operations);
    }
    (!operations.is_empty()).then_some(Patch(operations))
}

/// Returns whether the patch, which [`build`] made, applies to `object`, the reviewed pod. The API server rejects a
/// pod whose patch fails, regardless of the failure policy, so the webhook applies each patch first.
pub fn applies_to(patch: &Patch, object: Option<&RawValue>) -> bool {
    let target: Option<Target> = object.and_then(|object| serde_json::from_str(object.get()).ok());
    let target = target.and_then(|target| serde_json::to_value(target).ok());
    target.is_some_and(|mut target| json_patch::patch(&mut target, patch).is_ok())
}

/// JSON pointer to an image reference.
fn image_pointer(field: &ImageField) -> PointerBuf {
    let index = field.index.to_string();
    let head = ["spec", field.list.as_str(), &index];
    PointerBuf::from_tokens(head.into_iter().chain(field.list.reference_path().iter().copied()))
}

/// Sets the annotation to the originals of the variants that the pod holds afterwards. Entries of other fields
/// are dropped: a stale entry would put a container back on an image that the container never had.
fn annotate_originals(pod: &Pod, decisions: &[Decision], operations: &mut Vec<PatchOperation>) {
    let annotations = pod.metadata.annotations.as_ref();
    let before = annotations.and_then(|annotations| annotations.get(keys::ORIGINALS));
    let originals: BTreeMap<String, &str> = decisions
        .iter()
        .filter_map(|decision| Some((decision.image.field.to_string(), decision.original.as_deref()?)))
        .collect();
    let is_recorded = zstart_core::originals(&pod.metadata).is_some_and(|recorded| {
        recorded.len() == originals.len()
            && recorded.iter().all(|(field, original)| originals.get(field) == Some(&original.as_str()))
    });
    if is_recorded || (before.is_none() && originals.is_empty()) {
        return;
    }
    let text = json!(originals).to_string();
    let path = PointerBuf::from_tokens(["metadata", "annotations", keys::ORIGINALS]);
    match (annotations, before) {
        (_, Some(before)) => {
            let before = Value::from(before.clone());
            operations.push(PatchOperation::Test(TestOperation { path: path.clone(), value: before }));
            operations.push(if originals.is_empty() {
                PatchOperation::Remove(RemoveOperation { path })
            } else {
                PatchOperation::Replace(ReplaceOperation { path, value: text.into() })
            });
        }
        (Some(_), None) => operations.push(PatchOperation::Add(AddOperation { path, value: text.into() })),
        (None, None) => {
            let path = PointerBuf::from_tokens(["metadata", "annotations"]);
            let value = json!({ keys::ORIGINALS: text });
            operations.push(PatchOperation::Add(AddOperation { path, value }));
        }
    }
}

//! The patch: nothing but the images that change, and the annotation that keeps what stood there.
//!
//! Pure. `test` stands before each `replace`, so that an image is never written over another one
//! than the decision was made for. Whole lists are never written.

use std::collections::BTreeMap;

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation, TestOperation};
use k8s_openapi::api::core::v1::Pod;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use zstart_core::{Reference, keys, originals, variant};

use crate::rewrite::{Decision, ImageField, images};

#[cfg(test)]
mod tests;

/// Whether what the pod's metadata says is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Annotate {
    /// A pod that is being made, and that may be changed.
    Yes,
    /// One that is to stay as it came; and `pods/ephemeralcontainers`: the API server keeps only the
    /// ephemeral containers of such an update. An annotation would be dropped without a word.
    No,
}

/// The patch for these decisions about `pod`; `None` where nothing changes.
pub fn build(pod: &Pod, decisions: &[Decision], annotate: Annotate) -> Option<Patch> {
    let changes: Vec<(&Decision, &Reference)> = decisions
        .iter()
        .filter_map(|decision| decision.variant.as_ref().map(|variant| (decision, variant)))
        .collect();
    let mut operations = Vec::with_capacity(changes.len() * 2 + 2);
    for (decision, variant) in &changes {
        let path = image_pointer(&decision.image.field);
        let value = Value::from(decision.image.reference.clone());
        operations.push(PatchOperation::Test(TestOperation { path: path.clone(), value }));
        let value = Value::from(variant.to_string());
        operations.push(PatchOperation::Replace(ReplaceOperation { path, value }));
    }
    if annotate == Annotate::Yes {
        annotate_originals(pod, &changes, &mut operations);
    }
    (!operations.is_empty()).then_some(Patch(operations))
}

/// Whether the patch can be applied to `object`, the pod as it came. The API server refuses a pod
/// whose patch fails, whatever the failure policy says, so ours is tried here first.
pub fn applies_to(patch: &Patch, object: Option<&RawValue>) -> bool {
    let object: Option<Value> = object.and_then(|object| serde_json::from_str(object.get()).ok());
    object.is_some_and(|mut object| json_patch::patch(&mut object, patch).is_ok())
}

/// The JSON pointer of a reference.
fn image_pointer(field: &ImageField) -> PointerBuf {
    let index = field.index.to_string();
    let head = ["spec", field.list.as_str(), &index];
    PointerBuf::from_tokens(head.into_iter().chain(field.list.reference_path().iter().copied()))
}

fn annotate_originals(pod: &Pod, changes: &[(&Decision, &Reference)], operations: &mut Vec<PatchOperation>) {
    let annotations = pod.metadata.annotations.as_ref();
    let before = annotations.and_then(|annotations| annotations.get(keys::ORIGINALS));
    let recorded = originals(&pod.metadata);
    let mut originals = retain_current(pod, recorded.clone().unwrap_or_default());
    for (decision, _) in changes {
        originals.insert(decision.image.field.to_string(), decision.image.reference.clone());
    }
    if recorded.as_ref() == Some(&originals) || (before.is_none() && originals.is_empty()) {
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

/// The entries of an annotation that was there before (the webhook is asked again when another one
/// changed the pod; people copy pods) whose place still holds a variant. The others would put a
/// container back on an image that it never had.
fn retain_current(pod: &Pod, mut originals: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let rewritten = images(pod).into_iter().filter(|image| {
        let reference: Result<Reference, _> = image.reference.parse();
        reference.is_ok_and(|reference| variant::is_variant(&reference))
    });
    let fields: Vec<String> = rewritten.map(|image| image.field.to_string()).collect();
    originals.retain(|field, _| fields.contains(field));
    originals
}

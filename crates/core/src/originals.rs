//! Original images of a rewritten pod.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::keys;
use crate::pod_images::Image;

/// Parses the annotation [`keys::ORIGINALS`]: original references by image field. Returns `None` if the
/// annotation is missing or isn't valid.
pub fn originals(metadata: &ObjectMeta) -> Option<BTreeMap<String, String>> {
    let annotation = metadata.annotations.as_ref()?.get(keys::ORIGINALS)?;
    serde_json::from_str(annotation).ok()
}

/// Returns the original of an image that was rewritten before, from the `originals` of its pod. An entry counts
/// only while the field holds a variant: the pod may be a copy that got another image.
pub fn recorded_original<'a>(image: &Image, originals: &'a BTreeMap<String, String>) -> Option<&'a str> {
    let original = originals.get(&image.field.to_string())?;
    image.is_variant().then_some(original.as_str())
}

//! Original images of a rewritten pod.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::keys;

/// Parses the annotation [`keys::ORIGINALS`]: original references by image field. Returns `None` if the
/// annotation is missing or isn't valid.
pub fn originals(metadata: &ObjectMeta) -> Option<BTreeMap<String, String>> {
    let annotation = metadata.annotations.as_ref()?.get(keys::ORIGINALS)?;
    serde_json::from_str(annotation).ok()
}

//! What a rewritten pod says of the images that its author wrote.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::keys;

/// The entries of the annotation [`keys::ORIGINALS`], by place. `None` where there is none, or one that
/// says nothing.
pub fn originals(metadata: &ObjectMeta) -> Option<BTreeMap<String, String>> {
    let annotation = metadata.annotations.as_ref()?.get(keys::ORIGINALS)?;
    serde_json::from_str(annotation).ok()
}

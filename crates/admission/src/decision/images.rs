//! Images of a pod that a review covers.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use zstart_core::pod_images;

pub use zstart_core::pod_images::{Image, ImageField, ImageList, PullPolicy};

/// Returns every image that the pod names.
pub fn images(pod: &Pod) -> Vec<Image> {
    pod.spec.as_ref().map(pod_images::images).unwrap_or_default()
}

/// Returns the images of ephemeral containers in `pod` that are missing in `old`. The API
/// server refuses a change to ephemeral containers that already run.
pub fn new_ephemeral_images(pod: &Pod, old: &Pod) -> Vec<Image> {
    let spec = old.spec.as_ref();
    let running: BTreeSet<&str> = spec
        .and_then(|spec| spec.ephemeral_containers.as_deref())
        .unwrap_or_default()
        .iter()
        .map(|container| container.name.as_str())
        .collect();
    let is_new = |image: &Image| {
        image.field.list == ImageList::EphemeralContainers && !running.contains(image.field.name.as_str())
    };
    images(pod).into_iter().filter(is_new).collect()
}

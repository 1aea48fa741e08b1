//! Original images of a rewritten pod.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::keys;
use crate::pod_images::Image;
use crate::reference::Reference;
use crate::variant;

/// Length up to which a variant's tag begins with the whole tag of its source. A longer one is cut.
const WHOLE_STEM_LENGTH: usize = 90;

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

/// Returns whether `image` names a variant of `original`: the same repository, the form of a variant's tag made
/// for this source, and a digest. The form is no proof that zstart pushed the image.
pub fn is_variant_of(image: &Reference, original: &Reference) -> bool {
    let Some(tag) = image.tag().filter(|tag| variant::is_variant_tag(tag)) else { return false };
    if image.digest().is_none() || image.name() != original.name() || variant::is_variant(original) {
        return false;
    }
    let stem = match (original.digest(), original.tag()) {
        (Some(digest), _) => format!("{}-{}-zstd", digest.algorithm(), digest.short()),
        (None, Some(tag)) if tag.as_str().len() <= WHOLE_STEM_LENGTH => format!("{tag}-zstd-"),
        (None, Some(tag)) => tag.as_str()[..WHOLE_STEM_LENGTH].to_owned(),
        (None, None) => return false,
    };
    tag.as_str().starts_with(&stem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn digest() -> Digest {
        Digest::sha256_of(b"image")
    }

    /// Variant of `original`, as the webhook writes it.
    fn variant_of(original: &Reference) -> Reference {
        original.with_tag_and_digest(variant::tag(original, &digest()), digest())
    }

    #[test]
    fn variant_belongs_to_its_own_source() {
        let source_digest = Digest::sha256_of(b"source");
        let long = "v".repeat(120);
        for original in [
            "r.example/app:v1".to_owned(),
            "nginx".to_owned(),
            format!("r.example/app:{long}"),
            format!("r.example/app@{source_digest}"),
            format!("r.example/app:v1@{source_digest}"),
        ] {
            let original: Reference = original.parse().unwrap();
            let made_from = original.digest().cloned().unwrap_or(source_digest.clone());
            let variant = original.with_tag_and_digest(variant::tag(&original, &made_from), digest());
            assert!(is_variant_of(&variant, &original), "{variant} {original}");
        }
    }

    #[test]
    fn other_images_are_no_variant_of_a_source() {
        let original: Reference = "r.example/app:v1".parse().unwrap();
        let variant = variant_of(&original);
        let tag = variant.tag().unwrap().clone();
        for (image, original) in [
            // Another repository, registry or tag.
            (variant.clone(), "r.example/other:v1"),
            (variant.clone(), "other.example/app:v1"),
            (variant.clone(), "r.example/app:v2"),
            (variant.clone(), "r.example/app:v"),
            (variant.clone(), &*format!("r.example/app@{}", digest())),
            // No digest, no variant, and a variant of a variant.
            (original.with_tag(tag), "r.example/app:v1"),
            (original.with_tag_and_digest("v1".parse().unwrap(), digest()), "r.example/app:v1"),
            (variant.clone(), &*variant.to_string()),
        ] {
            assert!(!is_variant_of(&image, &original.parse().unwrap()), "{image} {original}");
        }
    }
}

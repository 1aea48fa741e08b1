//! Original images of a rewritten pod.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::digest::Digest;
use crate::keys;
use crate::pod_images::Image;
use crate::reference::Reference;
use crate::variant::{VariantNames, VariantTag, is_written_variant};

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
    let Some(VariantTag { stem, source, .. }) = image.tag().and_then(VariantTag::parse) else { return false };
    if image.digest().is_none() || image.name() != original.name() || is_written_variant(original) {
        return false;
    }
    match (original.digest(), stem) {
        (Some(digest), None) => digest.short() == source,
        // The stem doesn't depend on the digest.
        (None, Some(stem)) => VariantNames::of(original, &Digest::sha256_of(b"")).has_stem(stem),
        (Some(_), Some(_)) | (None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variant::ContentHash;

    fn digest() -> Digest {
        Digest::sha256_of(b"image")
    }

    /// Variant of `original` at this digest, as the webhook writes it.
    fn variant_at(original: &Reference, source: &Digest) -> Reference {
        let tag = VariantNames::of(original, source).tag(&ContentHash::of([&digest()], "zstart/3"));
        original.with_tag_and_digest(tag, digest())
    }

    fn variant_of(original: &Reference) -> Reference {
        variant_at(original, &digest())
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
            let variant = variant_at(&original, &made_from);
            assert!(is_variant_of(&variant, &original), "{variant} {original}");
            let first_form = VariantNames::of(&original, &made_from).first_form().clone();
            let variant = original.with_tag_and_digest(first_form, digest());
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

//! Phase *verify*: reads a pushed variant back.

use zstart_core::{Tag, keys};
use zstart_oci::{Document, ImageManifest, RawManifest};
use zstart_registry::{ErrorKind, ManifestKey, OWN_WRITES, Store};

use crate::error::{Error, ErrorClass};
use crate::plan::Plan;
use crate::presence::serves_blob;
use crate::variant::{Comparison, compare, find_listed};
use crate::variant_image::VariantImage;

/// Reads a variant back that was pushed just now. A registry may show the push only after a while, and an
/// overwritten tag's old image until then, so a failure is final only after some seconds
/// ([`OWN_WRITES`]).
pub async fn verify_pushed(
    target: &dyn Store,
    tag: &Tag,
    plan: &Plan,
    image: &VariantImage,
) -> Result<(), Error> {
    let may_pass = |error: &Error| match error.class() {
        // Some registries deny a tag that they don't see.
        ErrorClass::NotFound | ErrorClass::PullDenied | ErrorClass::ContentMismatch => ErrorKind::Unavailable,
        _ => ErrorKind::Other,
    };
    let on_retry = |error: &Error| {
        tracing::debug!(%tag, error = error.chain(), "the pushed variant isn't visible yet");
    };
    OWN_WRITES.run(|| verify(target, tag, plan, image), may_pass, on_retry).await
}

/// Reads a variant back: the tag must name `image`, and every blob must exist. An error of class
/// [`PullDenied`](ErrorClass::PullDenied) says that the tag can't be read.
pub async fn verify(target: &dyn Store, tag: &Tag, plan: &Plan, image: &VariantImage) -> Result<(), Error> {
    let failed = |found: String| Error::NotVerified {
        location: target.location().to_owned(),
        tag: tag.clone(),
        found,
    };
    let manifest = target.manifest(ManifestKey::Tag(tag)).await?;
    if manifest.digest != image.digest {
        return Err(failed(format!("the tag names {}, but {} was pushed", manifest.digest, image.digest)));
    }
    match compare(target, &manifest, plan).await? {
        Comparison::Variant(_) => {}
        Comparison::Partial(_) => return Err(failed("a platform is missing".to_owned())),
        Comparison::Other(found) => return Err(failed(found)),
    }
    for manifest in converted_manifests(target, &manifest).await? {
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            match serves_blob(target, blob.digest()).await {
                Ok(true) => {}
                Ok(false) => return Err(failed(format!("blob {} is missing", blob.digest()))),
                // The credentials may read the tag. Storage and registries that list nothing deny what doesn't
                // exist (S3: 403 without the right to list).
                Err(error) if error.kind == ErrorKind::Denied => {
                    let cause = error.chain();
                    return Err(failed(format!("blob {} is missing or denied: {cause}", blob.digest())));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// Reads the converted manifests of a variant that exist; [`compare`] has required those of the plan.
async fn converted_manifests(target: &dyn Store, found: &RawManifest) -> Result<Vec<ImageManifest>, Error> {
    let index = match found.read()? {
        Document::Manifest(manifest) => return Ok(vec![manifest]),
        Document::Index(index) => index,
    };
    let mut manifests = Vec::new();
    for entry in &index.entries {
        let ours = entry.descriptor.annotations();
        if !ours.is_ok_and(|annotations| annotations.contains_key(keys::SOURCE_DIGEST)) {
            continue;
        }
        if let Some(raw) = find_listed(target, entry.descriptor.digest()).await?
            && let Document::Manifest(manifest) = raw.read()?
        {
            manifests.push(manifest);
        }
    }
    Ok(manifests)
}

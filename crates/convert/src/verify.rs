//! Phase *verify*: reads a pushed variant back.

use zstart_core::{Digest, Tag};
use zstart_registry::{ErrorKind, ManifestKey, OWN_WRITES, Store};

use crate::error::{Error, ErrorClass};
use crate::plan::Plan;
use crate::variant::{Comparison, compare, find_defect};
use crate::variant_image::VariantImage;

/// Reads a variant back that was pushed just now: [`prove_pushed`] for a variant of this process.
pub async fn verify_pushed(
    target: &dyn Store,
    tag: &Tag,
    plan: &Plan,
    image: &VariantImage,
) -> Result<(), Error> {
    prove_pushed(target, tag, plan, &image.digest).await.map(drop)
}

/// Reads a variant back that another process says it pushed just now. Nothing of that claim is believed: the tag must
/// name `digest`, which must be a complete variant of the plan's source.
///
/// A registry may show the push only after a while, and an overwritten tag's old image until then, so a failure is
/// final only after some seconds ([`OWN_WRITES`]).
pub async fn prove_pushed(
    target: &dyn Store,
    tag: &Tag,
    plan: &Plan,
    digest: &Digest,
) -> Result<VariantImage, Error> {
    let may_pass = |error: &Error| match error.class() {
        // Some registries deny a tag that they don't see.
        ErrorClass::NotVerified | ErrorClass::PullDenied | ErrorClass::ContentMismatch => {
            ErrorKind::Unavailable
        }
        _ => ErrorKind::Other,
    };
    let on_retry = |error: &Error| {
        tracing::debug!(%tag, error = error.chain(), "the pushed variant isn't visible yet");
    };
    OWN_WRITES.run(|| prove(target, tag, plan, digest), may_pass, on_retry).await
}

/// Reads a variant back: the tag must name `image`, and everything that it names must exist. An error of class
/// [`PullDenied`](ErrorClass::PullDenied) says that the tag can't be read.
pub async fn verify(target: &dyn Store, tag: &Tag, plan: &Plan, image: &VariantImage) -> Result<(), Error> {
    prove(target, tag, plan, &image.digest).await.map(drop)
}

async fn prove(target: &dyn Store, tag: &Tag, plan: &Plan, digest: &Digest) -> Result<VariantImage, Error> {
    let failed = |found: String| Error::NotVerified {
        location: target.location().to_owned(),
        tag: tag.clone(),
        found,
    };
    let manifest = match target.manifest(ManifestKey::Tag(tag)).await {
        Ok(manifest) => manifest,
        // It isn't the source that is missing.
        Err(error) if error.kind == ErrorKind::NotFound => return Err(failed(error.chain())),
        Err(error) => return Err(error.into()),
    };
    if manifest.digest != *digest {
        return Err(failed(format!("the tag names {}, but {digest} was pushed", manifest.digest)));
    }
    let variant = match compare(target, &manifest, plan).await? {
        Comparison::Variant(variant) => variant,
        Comparison::Other(found) => return Err(failed(found)),
    };
    if let Some(defect) = find_defect(target, &variant).await? {
        return Err(failed(defect));
    }
    if variant.is_complete { Ok(variant.image) } else { Err(failed("a platform is missing".to_owned())) }
}

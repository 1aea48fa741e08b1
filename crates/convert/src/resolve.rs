//! Phase *resolve*: the digest of a reference.

use zstart_core::Digest;
use zstart_oci::RawManifest;
use zstart_registry::{ManifestKey, Store};

use crate::error::Error;

/// A resolved reference.
#[derive(Clone, Debug)]
pub struct Resolved {
    manifest: RawManifest,
}

impl Resolved {
    /// The digest of the manifest or index.
    pub fn digest(&self) -> &Digest {
        &self.manifest.digest
    }

    /// The manifest or index.
    pub fn manifest(&self) -> &RawManifest {
        &self.manifest
    }
}

/// Reads the manifest or index of a tag or reference: one request.
pub async fn resolve<'a>(source: &dyn Store, key: impl Into<ManifestKey<'a>>) -> Result<Resolved, Error> {
    Ok(Resolved { manifest: source.manifest(key.into()).await? })
}

/// Resolves a tag or reference to its digest, and reads no more than that takes.
pub async fn resolve_digest<'a>(
    source: &dyn Store,
    key: impl Into<ManifestKey<'a>>,
) -> Result<Digest, Error> {
    match key.into() {
        ManifestKey::Tag(tag) => Ok(source.tag_digest(tag).await?),
        ManifestKey::Digest(digest) => Ok(source.manifest(ManifestKey::Digest(digest)).await?.digest),
    }
}

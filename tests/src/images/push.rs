//! Pushes an OCI layout folder to a registry.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use zstart_core::{Digest, Reference, Tag};
use zstart_oci::{Document, ImageManifest};
use zstart_registry::auth::Credentials;
use zstart_registry::{LayoutFolder, RegistryClient, RegistryOptions, Store};
use zstart_registry::{ManifestKey, Presence};

use crate::control_plane::install_crypto;

/// Opens a repository of one of the lab's registries: plain http, anonymous.
pub fn open_repository(reference: &Reference) -> Result<Arc<dyn Store>> {
    install_crypto();
    let client = RegistryClient::new(RegistryOptions {
        plain_http: vec![reference.registry().to_owned()],
        ..RegistryOptions::default()
    })?;
    Ok(client.repository(reference, Credentials::Anonymous))
}

/// Pushes an image, or an index and its entries, from a layout folder. Returns its digest.
pub async fn push_layout(folder: &Path, tag: &Tag, reference: &Reference) -> Result<Digest> {
    let (layout, registry) = (LayoutFolder::new(folder), open_repository(reference)?);
    let raw = layout.manifest(ManifestKey::Tag(tag)).await?;
    match raw.read()? {
        Document::Manifest(manifest) => push_blobs(&layout, &*registry, &manifest).await?,
        Document::Index(index) => {
            for entry in &index.entries {
                let raw = layout.manifest(ManifestKey::Digest(entry.descriptor.digest())).await?;
                let Document::Manifest(manifest) = raw.read()? else {
                    anyhow::bail!("failed to push {}: it contains an index in an index", folder.display());
                };
                push_blobs(&layout, &*registry, &manifest).await?;
                registry.put_manifest(&raw, &raw.media_type()?, None).await?;
            }
        }
    }
    let tag = reference.tag().with_context(|| format!("{reference} has no tag"))?;
    registry.put_manifest(&raw, &raw.media_type()?, Some(tag)).await?;
    Ok(raw.digest)
}

/// Pushes the layers and the config of a manifest, unless they exist.
async fn push_blobs(layout: &LayoutFolder, registry: &dyn Store, manifest: &ImageManifest) -> Result<()> {
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        if registry.blob_presence(blob.digest()).await == Presence::Present {
            continue;
        }
        let mut upload = registry.start_upload().await?;
        upload.send(layout.blob(blob.digest()).await?).await?;
        upload.commit(blob.digest()).await?;
    }
    Ok(())
}

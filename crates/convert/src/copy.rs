//! Blobs and manifests that are copied unchanged from one repository to another.

use futures::future::BoxFuture;
use zstart_core::Digest;
use zstart_oci::{Descriptor, Document, RawManifest};
use zstart_registry::{ErrorKind, ManifestKey, Store};

use crate::blob_io::{Content, buffer_small};
use crate::error::Error;
use crate::plan::Refusal;
use crate::presence::has_blob;
use crate::retry::{BlobError, retry_blob};

/// Highest depth of indexes inside indexes.
const MAX_DEPTH: u32 = 4;

/// Copies a blob, unless the target has it or can mount it. The target compares it with its digest.
pub(crate) async fn copy_blob(source: &dyn Store, target: &dyn Store, digest: &Digest) -> Result<(), Error> {
    // A look-up that fails decides nothing: the blob is sent.
    if source.location() == target.location() || has_blob(target, digest).await.unwrap_or(false) {
        return Ok(());
    }
    if try_mount(target, digest, source.location()).await {
        return Ok(());
    }
    retry_blob(digest, || (), || attempt_copy(source, target, digest)).await
}

/// Mounts a blob of another repository of the target's registry. A failure is no error: then the blob is
/// sent.
pub(crate) async fn try_mount(target: &dyn Store, blob: &Digest, from: &str) -> bool {
    target.mount_blob(blob, from).await.unwrap_or_else(|error| {
        tracing::debug!(error = error.chain(), %blob, from, "failed to mount a blob");
        false
    })
}

async fn attempt_copy(source: &dyn Store, target: &dyn Store, digest: &Digest) -> Result<(), BlobError> {
    let content = source.blob(digest).await.map_err(BlobError::Open)?;
    let content = match buffer_small(content).await {
        Content::Buffered(content) => {
            return target.put_blob(digest, content).await.map_err(BlobError::transfer);
        }
        Content::Stream(content) => content,
    };
    let mut upload = target.start_upload().await.map_err(BlobError::Open)?;
    upload.send(content).await.map_err(BlobError::transfer)?;
    upload.commit(digest).await.map_err(BlobError::transfer)
}

/// Copies an entry of an index with everything that it references.
pub(crate) async fn copy_entry(
    source: &dyn Store,
    target: &dyn Store,
    entry: &Descriptor,
) -> Result<(), Error> {
    if source.location() == target.location() {
        return Ok(());
    }
    copy_document(source, target, entry, MAX_DEPTH).await
}

fn copy_document<'a>(
    source: &'a dyn Store,
    target: &'a dyn Store,
    entry: &'a Descriptor,
    depth: u32,
) -> BoxFuture<'a, Result<(), Error>> {
    Box::pin(async move {
        let digest = entry.digest();
        let raw = match source.manifest(ManifestKey::Digest(digest)).await {
            Ok(raw) => raw,
            Err(error) if error.kind == ErrorKind::NotFound => {
                let location = source.location().to_owned();
                return Err(Error::EntryMissing { location, digest: digest.clone() });
            }
            Err(error) => return Err(error.into()),
        };
        match raw.read() {
            // The references of an unknown type are unknown; a target that misses one says so.
            Err(_) => {}
            Ok(Document::Manifest(manifest)) => {
                copy_blob(source, target, manifest.config.digest()).await?;
                for layer in &manifest.layers {
                    copy_blob(source, target, layer.digest()).await?;
                }
            }
            Ok(Document::Index(_)) if depth == 0 => {
                let reference = format!("{}@{digest}", source.location());
                return Err(Error::Refused { reference, refusal: Refusal::NestedIndex });
            }
            Ok(Document::Index(index)) => {
                for entry in &index.entries {
                    copy_document(source, target, &entry.descriptor, depth - 1).await?;
                }
            }
        }
        let media_type = raw.media_type_for_entry(entry);
        // The index may list it by a sha512 digest.
        let raw = RawManifest { digest: digest.clone(), ..raw };
        target.put_manifest(&raw, &media_type, None).await?;
        Ok(())
    })
}

//! What goes from one repository to another as it is.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures::TryStreamExt as _;
use futures::future::BoxFuture;
use zstart_core::Digest;

use super::again::{Failed, with_attempts};
use super::channel::{Content, gather};
use crate::error::Error;
use crate::plan::Refusal;
use zstart_codec::LayerError;
use zstart_oci::{Descriptor, Document, RawManifest};
use zstart_registry::{ManifestKey, Repository, Trouble};

/// How deep indexes inside indexes are followed.
const DEPTH_MAX: u32 = 4;

/// Copies a blob, where the target neither has it nor can be given it by its registry. The target compares
/// it with its digest.
pub(super) async fn copy_blob(
    source: &dyn Repository,
    target: &dyn Repository,
    digest: &Digest,
) -> Result<(), Error> {
    if source.location() == target.location() || target.has_blob(digest).await? {
        return Ok(());
    }
    if is_mounted(target, digest, source.location()).await {
        return Ok(());
    }
    with_attempts(digest, || (), || attempt_copy(source, target, digest)).await
}

/// Lets the target's registry link a blob of another of its repositories. Whatever keeps it from that is no
/// error: then the blob is sent.
pub(super) async fn is_mounted(target: &dyn Repository, blob: &Digest, from: &str) -> bool {
    target.mount_blob(blob, from).await.unwrap_or_else(|error| {
        tracing::debug!(%error, %blob, from, "a blob could not be mounted");
        false
    })
}

async fn attempt_copy(
    source: &dyn Repository,
    target: &dyn Repository,
    digest: &Digest,
) -> Result<(), Failed> {
    let content = source.blob(digest).await.map_err(Failed::opening)?;
    let content = match gather(content).await {
        // The target compares it with the digest.
        Content::Whole(content) => return Ok(target.put_blob(digest, content).await?),
        Content::Stream(content) => content,
    };
    let mut upload = target.begin_blob().await.map_err(Failed::opening)?;
    // The target only sees that there is no more; why that is, is said here.
    let broken: Arc<Mutex<Option<io::Error>>> = Arc::default();
    let note = Arc::clone(&broken);
    let content = content.map_err(move |error| {
        *note.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        io::Error::other("the source broke off")
    });
    let sent = upload.send(Box::pin(content)).await;
    if let Some(source) = broken.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(Error::Blob { digest: digest.clone(), source: LayerError::Read { source } }.into());
    }
    sent?;
    upload.commit(digest).await?;
    Ok(())
}

/// Copies an entry of an index with all that it names.
pub(super) async fn copy_entry(
    source: &dyn Repository,
    target: &dyn Repository,
    entry: &Descriptor,
) -> Result<(), Error> {
    if source.location() == target.location() {
        return Ok(());
    }
    copy_document(source, target, entry, DEPTH_MAX).await
}

fn copy_document<'a>(
    source: &'a dyn Repository,
    target: &'a dyn Repository,
    entry: &'a Descriptor,
    depth: u32,
) -> BoxFuture<'a, Result<(), Error>> {
    Box::pin(async move {
        let digest = entry.digest();
        let raw = match source.manifest(ManifestKey::Digest(digest)).await {
            Ok(raw) => raw,
            Err(error) if error.trouble == Trouble::NotFound => {
                let location = source.location().to_owned();
                return Err(Error::EntryMissing { location, digest: digest.clone() });
            }
            Err(error) => return Err(error.into()),
        };
        match raw.read() {
            // What it names is unknown; if the target misses something, it says so.
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
        let media_type = raw.media_type_as_listed(entry);
        // Under the very digest that the index lists, which may be a sha512 one.
        let raw = RawManifest { digest: digest.clone(), ..raw };
        target.put_manifest(&raw, &media_type, None).await?;
        Ok(())
    })
}

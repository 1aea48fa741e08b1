//! Layers that need no conversion: the layer cache or an earlier variant has them.
//!
//! A cached layer was verified before: its source was read whole, and the digest of its uncompressed bytes is
//! known. A layer that an annotation names is verified first: it is read whole, and its uncompressed bytes are
//! compared with the config's `diff_id`. That takes about a quarter of the time of a conversion
//! (`make bench`), and no annotation can bring other files into an image.

use std::sync::Arc;

use zstart_codec::zstd_frames;
use zstart_core::Digest;
use zstart_oci::{Descriptor, media_type};

use crate::converted_layer::{BlobInfo, ConvertedLayer};
use crate::copy::try_mount;
use crate::job::Job;
use crate::layer_cache::{CacheEntry, LayerKey};
use crate::layer_context::LayerContext;
use crate::pipeline::WeightedLayer;
use crate::presence::has_blob;
use crate::progress::Silent;

/// Returns a cached layer, if the target has it or can mount it. A failure is no error: then the layer is
/// converted.
pub(crate) async fn reuse_cached(
    job: &Job<'_>,
    layer: &Descriptor,
    key: &LayerKey,
    expected: &Digest,
) -> Option<ConvertedLayer> {
    let CacheEntry { converted: cached, locations } = job.layer_cache.get(key)?;
    if cached.diff_id != *expected {
        // The conversion finds out which of the two is wrong.
        tracing::debug!(layer = %key.layer, "the cached diff_id of a layer differs from the config's");
        return None;
    }
    let is_in_target = match &cached.written {
        // The layer stays as it is, and is copied from the source.
        None => true,
        Some(BlobInfo { digest, size: _ }) => {
            has_blob(job.target, digest).await.unwrap_or(false)
                || mount_cached(job, layer, digest, &locations).await
        }
    };
    is_in_target.then_some(cached)
}

/// Mounts a blob from one of the repositories that had it. Only if the source has the layer that the blob was
/// made of: a mount must not let a user read files that the user could not read before.
async fn mount_cached(job: &Job<'_>, layer: &Descriptor, blob: &Digest, locations: &[String]) -> bool {
    let others: Vec<&String> = locations.iter().filter(|from| *from != job.target.location()).collect();
    if others.is_empty() || !has_blob(job.source, layer.digest()).await.unwrap_or(false) {
        return false;
    }
    for from in others {
        if try_mount(job.target, blob, from).await {
            return true;
        }
    }
    false
}

/// Returns an earlier variant's layer, if it unpacks to the expected bytes. A failure is no error: then the
/// layer is converted.
pub(crate) async fn reuse_verified(
    context: &LayerContext<'_>,
    prior: Option<&BlobInfo>,
    expected: &Digest,
) -> Option<ConvertedLayer> {
    let prior = prior?;
    let BlobInfo { digest, size } = prior;
    let layer = Descriptor::new(media_type::OCI_TAR_ZSTD, digest.clone(), *size).ok()?;
    let pipeline = context.pipeline(context.job.target, &Silent);
    let converter = Arc::clone(&context.converter);
    let verified = pipeline.read(WeightedLayer { layer: &layer, weight: 1 }, move |source, limits| {
        converter.release_idle_memory();
        zstd_frames::verify(source, limits)
    });
    match verified.await {
        Ok(diff_id) if diff_id == *expected => Some(ConvertedLayer { diff_id, written: Some(prior.clone()) }),
        Ok(_) => {
            tracing::warn!(layer = %digest, "an earlier variant's layer differs from its annotation");
            None
        }
        Err(error) => {
            let error = error.into_error().chain();
            tracing::debug!(layer = %digest, error, "failed to read an earlier variant's layer");
            None
        }
    }
}

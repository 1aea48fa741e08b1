//! One layer of a conversion: reused, or pulled, converted and pushed.

use std::io::BufRead;
use std::num::NonZero;

use zstart_codec::{LayerError, LayerLimits, UnpackLimits};
use zstart_core::Digest;
use zstart_oci::Descriptor;
use zstart_registry::Store;

use crate::concurrency::{LayerSemaphore, weight_of};
use crate::converted_layer::{BlobInfo, ConvertedLayer};
use crate::error::{DiffIdMismatch, Error};
use crate::layer_cache::LayerKey;
use crate::layer_context::{LayerContext, PlannedLayer};
use crate::pipeline::{LayerPipeline, WeightedLayer};
use crate::progress::{LayerResult, Progress};
use crate::retry::retry_blob;
use crate::reuse;

/// A layer that the target has.
pub(crate) struct EnsuredLayer {
    pub(crate) layer: ConvertedLayer,
    /// Whether an earlier conversion wrote it.
    pub(crate) is_reused: bool,
}

/// Ensures that the target has a layer: one that an earlier conversion wrote, or a new one. `prior` is the
/// layer that an earlier variant in the target claims to have made of it.
pub(crate) async fn ensure_layer(
    context: &LayerContext<'_>,
    planned: &PlannedLayer,
    prior: Option<&BlobInfo>,
) -> Result<EnsuredLayer, Error> {
    let LayerContext { job, settings_annotation, .. } = context;
    let PlannedLayer { layer, diff_id, manifest } = planned;
    let key = LayerKey { layer: layer.digest().clone(), settings: settings_annotation.clone() };
    let location = job.target.location();
    let _lock = job.layer_cache.lock(&key, location).await;
    let reused = if job.settings.force {
        None
    } else {
        match reuse::reuse_cached(job, layer, &key, diff_id).await {
            Some(reused) => Some(reused),
            None => reuse::reuse_verified(context, prior, diff_id).await,
        }
    };
    let (converted, is_new) = match reused {
        Some(reused) => {
            job.progress.started(layer.digest(), layer.size());
            (reused, false)
        }
        None => (convert_layer(context, layer, diff_id).await?, true),
    };
    if converted.diff_id != *diff_id {
        return Err(Error::DiffId(Box::new(DiffIdMismatch {
            manifest: manifest.clone(),
            layer: layer.digest().clone(),
            found: converted.diff_id,
            promised: diff_id.clone(),
        })));
    }
    // A forced conversion rewrites layers that other conversions keep.
    if !job.settings.force {
        job.layer_cache.insert(&key, &converted, location);
    }
    let result = match &converted.written {
        Some(BlobInfo { digest: _, size }) if is_new => LayerResult::Converted { bytes: *size },
        Some(BlobInfo { digest: _, size }) => LayerResult::Reused { bytes: *size },
        None => LayerResult::Kept,
    };
    job.progress.finished(layer.digest(), result);
    Ok(EnsuredLayer { is_reused: matches!(result, LayerResult::Reused { .. }), layer: converted })
}

async fn convert_layer(
    context: &LayerContext<'_>,
    layer: &Descriptor,
    diff_id: &Digest,
) -> Result<ConvertedLayer, Error> {
    let LayerContext { job, converter, .. } = context;
    let pipeline = context.pipeline(job.source, job.progress);
    let weighted = WeightedLayer { layer, weight: weight_of(job.settings.level, layer) };
    let on_retry = || job.progress.finished(layer.digest(), LayerResult::Retrying);
    retry_blob(layer.digest(), on_retry, || pipeline.convert(job.target, converter, weighted, diff_id)).await
}

/// Pulls a layer and lets `read` have its bytes, on a thread. Each attempt calls `read` again.
pub async fn read_layer<T, F>(
    source: &dyn Store,
    layer: &Descriptor,
    unpack: UnpackLimits,
    progress: &dyn Progress,
    read: F,
) -> Result<T, Error>
where
    T: Send + 'static,
    F: Fn(&mut dyn BufRead, LayerLimits) -> Result<T, LayerError> + Clone + Send + 'static,
{
    let permits = LayerSemaphore::new(NonZero::<usize>::MIN);
    let pipeline = LayerPipeline { source, permits: &permits, unpack, progress };
    let on_retry = || progress.finished(layer.digest(), LayerResult::Retrying);
    let attempt = || pipeline.read(WeightedLayer { layer, weight: 1 }, read.clone());
    retry_blob(layer.digest(), on_retry, attempt).await
}

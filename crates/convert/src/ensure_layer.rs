//! One layer of a conversion: reused, or pulled, converted and pushed.

use std::io::BufRead;
use std::num::NonZero;
use std::sync::Arc;

use zstart_codec::{LayerConverter, LayerError, LayerLimits, UnpackLimits};
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
    /// An earlier conversion wrote it.
    pub(crate) is_reused: bool,
    /// It was encoded because its transcoding failed.
    pub(crate) is_transcoder_fault: bool,
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
    let key = LayerKey::new(layer.digest(), settings_annotation);
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
    let mut is_transcoder_fault = false;
    let (converted, is_new) = match reused {
        Some(reused) => {
            job.progress.started(layer.digest(), layer.size());
            (reused, false)
        }
        None => match convert_layer(context, &context.converter, layer, diff_id).await {
            Err(error @ Error::Layer { source: LayerError::Transcode { .. }, .. }) => {
                is_transcoder_fault = true;
                (encode_layer(context, layer, diff_id, error).await?, true)
            }
            converted => (converted?, true),
        },
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
    let is_reused = matches!(result, LayerResult::Reused { .. });
    Ok(EnsuredLayer { is_reused, is_transcoder_fault, layer: converted })
}

/// Converts a layer without the transcoder, which failed with `fault`. Nothing of its attempt was stored.
async fn encode_layer(
    context: &LayerContext<'_>,
    layer: &Descriptor,
    diff_id: &Digest,
    fault: Error,
) -> Result<ConvertedLayer, Error> {
    let Some(converter) = context.converter.without_transcoder() else { return Err(fault) };
    let error = fault.chain();
    tracing::warn!(layer = %layer.digest(), error, "encoding a layer, because its transcoding failed");
    context.job.progress.finished(layer.digest(), LayerResult::Retrying);
    convert_layer(context, &converter, layer, diff_id).await
}

async fn convert_layer(
    context: &LayerContext<'_>,
    converter: &Arc<dyn LayerConverter>,
    layer: &Descriptor,
    diff_id: &Digest,
) -> Result<ConvertedLayer, Error> {
    let LayerContext { job, .. } = context;
    let pipeline = context.pipeline(job.source, job.progress);
    let weighted = WeightedLayer { layer, weight: weight_of(job.settings, layer) };
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use zstart_codec::{Converted, Level, ZstdConverter};
    use zstart_oci::media_type;
    use zstart_registry::LayoutFolder;
    use zstart_transcode::{Fault, TranscodeError};

    use super::*;
    use crate::job::Job;
    use crate::layer_cache::LayerCache;
    use crate::progress::Silent;
    use crate::settings::Settings;

    /// A converter that writes wrong bytes and then notices it.
    struct FaultyConverter {
        wrong_bytes: usize,
        fallback: Option<Arc<dyn LayerConverter>>,
    }

    impl LayerConverter for FaultyConverter {
        fn settings(&self) -> String {
            String::new()
        }

        fn without_transcoder(&self) -> Option<Arc<dyn LayerConverter>> {
            self.fallback.clone()
        }

        fn convert(
            &self,
            _: &mut dyn BufRead,
            target: &mut (dyn Write + Send),
            _: LayerLimits,
        ) -> Result<Converted, LayerError> {
            target.write_all(&vec![7; self.wrong_bytes]).unwrap();
            let source = TranscodeError::Internal { position: 0, fault: Fault::Different };
            Err(LayerError::Transcode { source })
        }
    }

    /// Converts a layer from a folder to another with a faulty transcoder. Returns the result and the blobs that the
    /// target has, with the blob that an encoder makes.
    async fn ensure(
        wrong_bytes: usize,
        can_encode: bool,
    ) -> (Result<EnsuredLayer, Error>, BTreeSet<String>, Digest) {
        let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let stores = [&source, &target].map(|folder| LayoutFolder::new(folder.path()));
        let plain = b"some files ".repeat(1000);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&plain).unwrap();
        let gzip = gzip.finish().unwrap();
        let layer =
            Descriptor::new(media_type::OCI_TAR_GZIP, Digest::sha256_of(&gzip), gzip.len() as u64).unwrap();
        stores[0].put_blob(layer.digest(), gzip.clone().into()).await.unwrap();

        let encoder: Arc<dyn LayerConverter> = Arc::new(ZstdConverter::new(Level::default()));
        let mut encoded = Vec::new();
        let limits = LayerLimits { compressed_size: layer.size(), max_uncompressed: u64::MAX };
        encoder.convert(&mut &gzip[..], &mut encoded, limits).unwrap();

        let settings = Settings::default();
        let job = Job {
            source: &stores[0],
            target: &stores[1],
            settings: &settings,
            layer_cache: &LayerCache::default(),
            progress: &Silent,
        };
        let context = LayerContext {
            job: &job,
            converter: Arc::new(FaultyConverter { wrong_bytes, fallback: can_encode.then_some(encoder) }),
            settings_annotation: String::new(),
            permits: LayerSemaphore::new(settings.layers_at_once),
        };
        let diff_id = Digest::sha256_of(&plain);
        let planned = PlannedLayer { manifest: layer.digest().clone(), layer, diff_id };
        let ensured = ensure_layer(&context, &planned, None).await;
        let blobs = std::fs::read_dir(target.path().join("blobs/sha256"));
        let blobs = blobs.into_iter().flatten().map(|blob| blob.unwrap().file_name().into_string().unwrap());
        (ensured, blobs.collect(), Digest::sha256_of(&encoded))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn layer_is_encoded_after_a_fault_of_the_transcoder() {
        // Fewer bytes than are buffered, and a started upload.
        for wrong_bytes in [0, 10, 20 << 20] {
            let (ensured, blobs, encoded) = ensure(wrong_bytes, true).await;
            let ensured = ensured.unwrap();
            assert!(ensured.is_transcoder_fault);
            assert_eq!(ensured.layer.written.unwrap().digest, encoded);
            assert_eq!(blobs, BTreeSet::from([encoded.hex().to_owned()]), "{wrong_bytes} wrong bytes");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn fault_without_another_converter_is_an_error() {
        let (ensured, blobs, _) = ensure(20 << 20, false).await;
        let Err(Error::Layer { source: LayerError::Transcode { .. }, .. }) = ensured else {
            panic!("the layer was stored")
        };
        assert!(blobs.is_empty(), "{blobs:?}");
    }
}

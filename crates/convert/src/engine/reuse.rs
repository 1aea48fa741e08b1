//! A layer that need not be converted: this process, or an earlier one that kept its memory in a file,
//! has done it already, or an earlier variant in the repository holds it.
//!
//! What is remembered was proven: the source's layer was read whole, and the digest of what came out is
//! known. A layer that an annotation names is proven first, by reading it whole and comparing what it
//! unpacks to with the config's `diff_id`. That takes about a quarter of the time of converting it
//! (`make bench`), and no annotation can put other files into an image.

use std::io::{BufRead, Write};
use std::sync::Arc;

use zstart_core::Digest;

use super::copy::is_mounted;
use super::execute::Job;
use super::layers::{LayerOutcome, Workshop, Written, attempt_layer};
use crate::error::Error;
use crate::memory::{LayerKey, Remembered};
use crate::progress::Silent;
use zstart_codec::frames::FramesOnly;
use zstart_codec::{Announced, Converted, LayerConverter, LayerError};
use zstart_oci::{Descriptor, media_type};

/// What is remembered of a layer, if the target has it or can be given it without reading it anew.
pub(super) async fn remembered(
    job: &Job<'_>,
    layer: &Descriptor,
    key: &LayerKey,
    promised: &Digest,
) -> Result<Option<LayerOutcome>, Error> {
    let Some(Remembered { outcome, places }) = job.memory.get(key) else { return Ok(None) };
    if outcome.diff_id != *promised {
        // Whichever of them is wrong: reading the layer tells.
        tracing::debug!(layer = %key.layer, "what is remembered of a layer is not what the config says");
        return Ok(None);
    }
    let is_there = match &outcome.written {
        // It is in the source, from where it is copied as any other.
        None => true,
        Some(Written { digest, size: _ }) => {
            job.target.has_blob(digest).await? || mount(job, layer, digest, &places).await
        }
    };
    Ok(is_there.then_some(outcome))
}

/// Lets the registry link a blob from one of the repositories where it was seen. Only for a source
/// that has the layer which the blob was made of: nobody gets to read what he couldn't before.
async fn mount(job: &Job<'_>, layer: &Descriptor, blob: &Digest, places: &[String]) -> bool {
    let elsewhere: Vec<&String> = places.iter().filter(|place| *place != job.target.location()).collect();
    if elsewhere.is_empty() || !job.source.has_blob(layer.digest()).await.unwrap_or(false) {
        return false;
    }
    for from in elsewhere {
        if is_mounted(job.target, blob, from).await {
            return true;
        }
    }
    false
}

/// The layer of an earlier variant, if it is what was promised. Anything else is no error: then the
/// layer is converted.
pub(super) async fn proven(
    workshop: &Workshop<'_>,
    hint: Option<&Written>,
    promised: &Digest,
) -> Option<LayerOutcome> {
    let hint = hint?;
    let Written { digest, size } = hint;
    let layer = Descriptor::new(media_type::OCI_TAR_ZSTD, digest.clone(), *size).ok()?;
    let Workshop { job, converter, places, marks: _ } = workshop;
    let reader: Arc<dyn LayerConverter> = Arc::new(Prover { resting: Arc::clone(converter) });
    let Job { target, settings, .. } = **job;
    match attempt_layer(target, target, &reader, places, &layer, settings.unpack, &Silent).await {
        Ok(LayerOutcome { diff_id, written: _ }) if diff_id == *promised => {
            Some(LayerOutcome { diff_id, written: Some(hint.clone()) })
        }
        Ok(_) => {
            tracing::warn!(layer = %digest, "an earlier variant's layer is not what its annotation says");
            None
        }
        Err(failed) => {
            let error = failed.into_error();
            tracing::debug!(layer = %digest, error = error.chain(), "an earlier variant's layer can't be read");
            None
        }
    }
}

/// Reads what an earlier variant holds, in place of the converter.
struct Prover {
    resting: Arc<dyn LayerConverter>,
}

impl LayerConverter for Prover {
    fn settings(&self) -> String {
        FramesOnly.settings()
    }

    fn convert(
        &self,
        source: &mut dyn BufRead,
        target: &mut (dyn Write + Send),
        announced: Announced,
    ) -> Result<Converted, LayerError> {
        self.resting.rest();
        FramesOnly.convert(source, target, announced)
    }
}

//! State that all layers of a conversion share.

use std::sync::Arc;

use zstart_codec::LayerConverter;
use zstart_core::Digest;
use zstart_oci::Descriptor;
use zstart_registry::Store;

use crate::concurrency::LayerSemaphore;
use crate::job::Job;
use crate::pipeline::LayerPipeline;
use crate::progress::Progress;

/// A layer that the variant needs.
#[derive(Clone, Debug)]
pub(crate) struct PlannedLayer {
    pub(crate) layer: Descriptor,
    /// Digest of the uncompressed bytes, by the config.
    pub(crate) diff_id: Digest,
    /// A manifest that lists the layer, for errors.
    pub(crate) manifest: Digest,
}

/// State that all layers of a conversion share.
pub(crate) struct LayerContext<'a> {
    pub(crate) job: &'a Job<'a>,
    pub(crate) converter: Arc<dyn LayerConverter>,
    /// The converter's settings, as annotations carry them.
    pub(crate) settings_annotation: String,
    pub(crate) permits: LayerSemaphore,
}

impl LayerContext<'_> {
    /// The pipeline for layers of a store.
    pub(crate) fn pipeline<'a>(
        &'a self,
        source: &'a dyn Store,
        progress: &'a dyn Progress,
    ) -> LayerPipeline<'a> {
        LayerPipeline { source, permits: &self.permits, unpack: self.job.settings.unpack, progress }
    }
}

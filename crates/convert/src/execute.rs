//! Phase *execute*: layers, then manifests, then the index, then the tag.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use zstart_codec::LayerConverter as _;
use zstart_core::{Digest, Tag};
use zstart_oci::{Descriptor, ImageIndex, IndexEntry, JsonError, RawManifest, media_type};
use zstart_registry::{ManifestKey, Store};

use crate::concurrency::LayerSemaphore;
use crate::converted_layer::{BlobInfo, ConvertedLayer};
use crate::copy::{copy_blob, copy_entry};
use crate::ensure_layer::ensure_layer;
use crate::error::{DiffIdMismatch, Error};
use crate::job::Job;
use crate::layer_context::{LayerContext, PlannedLayer};
use crate::plan::{EntryPlan, ManifestPlan, Plan, Shape};
use crate::prior_variants::find_reusable_layers;
use crate::publish::{VariantTagging, push_child};
use crate::variant_image::{PlatformReport, VariantImage};

/// Layers in addition to [`Settings::layers_at_once`](crate::Settings::layers_at_once) that are looked up, requested or stored at the same
/// time. That takes connections, and at most 1 MiB that the target hasn't accepted yet.
const EXTRA_IN_FLIGHT: usize = 4;

/// An executed plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The variant that the target has now.
    pub image: VariantImage,
    /// Its tag.
    pub tag: Tag,
    /// Layers that an earlier conversion had made. A layer of several platforms counts once.
    pub layers_reused: usize,
    /// Layers that were encoded because their transcoding would have given wrong bytes.
    pub transcoder_faults: usize,
}

/// All layers of a conversion, by the digests of the source's.
struct EnsuredLayers {
    layers: HashMap<Digest, ConvertedLayer>,
    reused: usize,
    transcoder_faults: usize,
}

/// A variant's manifest that isn't pushed yet.
struct BuiltManifest {
    manifest: RawManifest,
    report: PlatformReport,
}

/// Makes the variant that `plan` describes and puts it under a tag.
///
/// The tag is the last request, and only if `key` still resolves to the planned digest: nothing incomplete
/// ever has a name. All layers, unchanged ones too, have been compared with the config's `diff_ids` before the
/// first manifest is pushed.
pub async fn execute<'a>(
    job: Job<'_>,
    key: impl Into<ManifestKey<'a>>,
    tagging: VariantTagging<'_>,
    plan: &Plan,
) -> Result<Execution, Error> {
    let key = key.into();
    let (settings, ensured) = {
        // The context's encoder memory is released before the manifests are pushed.
        let context = layer_context(&job);
        let ensured = ensure_layers(&context, tagging, plan).await?;
        (context.settings_annotation, ensured)
    };
    let built = build_manifests(plan, &ensured.layers, &settings)?;
    let top = push_manifests(&job, plan, &ensured.layers, &built, &settings).await?;
    let tag = tagging.tag(&top)?;
    ensure_source_unchanged(job.source, key, &plan.source.digest).await?;
    tagging.push(job.target, &top, &tag).await?;
    let platforms = built.into_iter().map(|built| built.report).collect();
    let image = VariantImage { digest: top.digest, settings, platforms };
    let EnsuredLayers { reused: layers_reused, transcoder_faults, .. } = ensured;
    Ok(Execution { image, tag, layers_reused, transcoder_faults })
}

fn layer_context<'a>(job: &'a Job<'a>) -> LayerContext<'a> {
    let converter = job.settings.converter();
    LayerContext {
        job,
        settings_annotation: converter.settings(),
        converter: Arc::new(converter),
        permits: LayerSemaphore::new(job.settings.layers_at_once),
    }
}

/// Ensures each layer once, however many manifests list it. The largest layers are first, so that none of
/// them runs alone at the end.
async fn ensure_layers(
    context: &LayerContext<'_>,
    tagging: VariantTagging<'_>,
    plan: &Plan,
) -> Result<EnsuredLayers, Error> {
    let LayerContext { job, settings_annotation, .. } = context;
    let planned = planned_layers(plan);
    let prior = if job.settings.force {
        HashMap::new()
    } else {
        let layers = planned.iter().map(|PlannedLayer { layer, .. }| layer);
        let unknown = layers.filter(|layer| !job.layer_cache.contains(layer.digest(), settings_annotation));
        let unknown: Vec<_> = unknown.map(|layer| (layer.digest().clone(), layer.size())).collect();
        find_reusable_layers(job.target, tagging, settings_annotation, &unknown).await
    };
    let mut layers = stream::iter(planned)
        .map(|planned| {
            let prior: Option<&BlobInfo> = prior.get(planned.layer.digest());
            async move {
                let ensured = ensure_layer(context, &planned, prior).await?;
                Ok::<_, Error>((planned.layer.digest().clone(), ensured))
            }
        })
        .buffer_unordered(job.settings.layers_at_once.get().saturating_add(EXTRA_IN_FLIGHT));
    let mut ensured = EnsuredLayers { layers: HashMap::new(), reused: 0, transcoder_faults: 0 };
    while let Some((digest, layer)) = layers.try_next().await? {
        ensured.reused += usize::from(layer.is_reused);
        ensured.transcoder_faults += usize::from(layer.is_transcoder_fault);
        ensured.layers.insert(digest, layer.layer);
    }
    Ok(ensured)
}

// Owned: a future that borrows the layers can't be proven to be `Send`.
fn planned_layers(plan: &Plan) -> Vec<PlannedLayer> {
    let layers = plan.conversions().flat_map(|manifest| {
        let layers = manifest.manifest.layers.iter().zip(&manifest.diff_ids);
        layers.map(|(layer, diff_id)| PlannedLayer {
            layer: layer.clone(),
            diff_id: diff_id.clone(),
            manifest: manifest.raw.digest.clone(),
        })
    });
    let mut planned: Vec<PlannedLayer> = layers.collect();
    planned.sort_by(|PlannedLayer { layer: one, .. }, PlannedLayer { layer: other, .. }| {
        other.size().cmp(&one.size()).then(one.digest().cmp(other.digest()))
    });
    planned.dedup_by_key(|planned| planned.layer.digest().clone());
    planned
}

fn build_manifests(
    plan: &Plan,
    layers: &HashMap<Digest, ConvertedLayer>,
    settings: &str,
) -> Result<Vec<BuiltManifest>, Error> {
    plan.conversions().map(|conversion| build_manifest(conversion, layers, settings)).collect()
}

/// Builds a variant's manifest. Every layer must unpack to the config's `diff_id`.
fn build_manifest(
    plan: &ManifestPlan,
    converted: &HashMap<Digest, ConvertedLayer>,
    settings: &str,
) -> Result<BuiltManifest, Error> {
    let digest = &plan.raw.digest;
    let mut layers = Vec::with_capacity(plan.manifest.layers.len());
    let mut converted_layers = 0;
    for (layer, promised) in plan.manifest.layers.iter().zip(&plan.diff_ids) {
        let ConvertedLayer { diff_id, written } = &converted[layer.digest()];
        if diff_id != promised {
            return Err(Error::DiffId(Box::new(DiffIdMismatch {
                manifest: digest.clone(),
                layer: layer.digest().clone(),
                found: diff_id.clone(),
                promised: promised.clone(),
            })));
        }
        let next = match written {
            Some(BlobInfo { digest, size }) => {
                converted_layers += 1;
                layer.recompressed(digest.clone(), *size)
            }
            None => layer.with_media_type(media_type::OCI_TAR_ZSTD),
        };
        layers.push(next.map_err(|error| member_error(digest, error))?);
    }
    let manifest = plan.manifest.converted(digest, settings, &layers);
    Ok(BuiltManifest {
        manifest: manifest.map_err(|error| member_error(digest, error))?,
        report: PlatformReport {
            platform: plan.platform.clone(),
            source_bytes: plan.source_bytes(),
            variant_bytes: layers.iter().map(Descriptor::size).sum(),
            layers: layers.len(),
            converted_layers,
        },
    })
}

/// Pushes everything but the layers and the manifest that gets the variant's tag. Returns that manifest.
async fn push_manifests(
    job: &Job<'_>,
    plan: &Plan,
    layers: &HashMap<Digest, ConvertedLayer>,
    built: &[BuiltManifest],
    settings: &str,
) -> Result<RawManifest, Error> {
    let Job { source, target, .. } = *job;
    for conversion in plan.conversions() {
        copy_unchanged(source, target, conversion, layers).await?;
    }
    let top = match &plan.shape {
        Shape::Single(_) => built.first().map(|built| built.manifest.clone()),
        Shape::Index { index, entries } => {
            let entries = push_index_entries(job, index, entries, built).await?;
            let converted = index.converted(&plan.source.digest, settings, &entries);
            Some(converted.map_err(|error| member_error(&plan.source.digest, error))?)
        }
    };
    let Some(top) = top else { unreachable!("a plan has at least one conversion") };
    Ok(top)
}

/// Pushes or copies all entries of the variant's index. `built` are the converted manifests, in order.
async fn push_index_entries(
    job: &Job<'_>,
    index: &ImageIndex,
    plans: &[EntryPlan],
    built: &[BuiltManifest],
) -> Result<Vec<Descriptor>, Error> {
    let mut built = built.iter();
    let mut descriptors = Vec::with_capacity(plans.len());
    for (IndexEntry { descriptor, .. }, plan) in index.entries.iter().zip(plans) {
        match plan {
            EntryPlan::Drop => {}
            EntryPlan::Keep(_) => {
                copy_entry(job.source, job.target, descriptor).await?;
                descriptors.push(descriptor.clone());
            }
            EntryPlan::Convert(plan) => {
                let Some(BuiltManifest { manifest, report: _ }) = built.next() else { continue };
                push_child(job.target, manifest, &plan.raw.digest, job.settings.tag_children).await?;
                let converted = descriptor.converted(manifest.digest.clone(), manifest.bytes.len() as u64);
                descriptors.push(converted.map_err(|error| member_error(descriptor.digest(), error))?);
            }
        }
    }
    Ok(descriptors)
}

/// Copies the config and the layers that stay as they are.
async fn copy_unchanged(
    source: &dyn Store,
    target: &dyn Store,
    plan: &ManifestPlan,
    layers: &HashMap<Digest, ConvertedLayer>,
) -> Result<(), Error> {
    copy_blob(source, target, plan.manifest.config.digest()).await?;
    for layer in &plan.manifest.layers {
        if layers[layer.digest()].written.is_none() {
            copy_blob(source, target, layer.digest()).await?;
        }
    }
    Ok(())
}

/// Checks that a reference still resolves to `from`. A tag that moved is [`Error::SourceMoved`]: pods want
/// its new image.
pub async fn ensure_source_unchanged<'a>(
    source: &dyn Store,
    key: impl Into<ManifestKey<'a>>,
    from: &Digest,
) -> Result<(), Error> {
    let key = key.into();
    let ManifestKey::Tag(tag) = key else { return Ok(()) };
    let now = source.tag_digest(tag).await?;
    if &now == from {
        return Ok(());
    }
    let reference = format!("{}:{tag}", source.location());
    Err(Error::SourceMoved { reference, from: from.clone(), to: now })
}

fn member_error(digest: &Digest, source: JsonError) -> Error {
    Error::Member { digest: digest.clone(), source }
}

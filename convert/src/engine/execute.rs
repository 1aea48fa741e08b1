//! Phase *execute*: layers, then manifests, then the index, then the tag.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use zstart_core::{Digest, Tag};

use super::copy::{copy_blob, copy_entry};
use super::layers::{LayerOutcome, Written, convert_layer};
use super::{PlatformReport, VariantImage};
use crate::error::Error;
use crate::image::{Descriptor, ImageIndex, IndexEntry, JsonError, RawManifest, media_type};
use crate::layer::LayerConverter;
use crate::layer::zstd::ZstdConverter;
use crate::plan::{EntryPlan, ManifestPlan, Plan, Shape};
use crate::progress::Progress;
use crate::repository::{ManifestKey, Repository};
use crate::settings::Settings;

/// A manifest that was made but not pushed yet.
struct Made {
    manifest: RawManifest,
    report: PlatformReport,
}

/// Makes the variant that `plan` describes and puts it under `tag`.
///
/// The tag comes last, and only while `key` still means what was planned: whatever happens
/// before, nothing half-made has a name. All layers, those that stay as they are too, have been
/// compared with the config's `diff_ids` before the first manifest is pushed.
pub async fn execute<'a>(
    source: &dyn Repository,
    target: &dyn Repository,
    key: impl Into<ManifestKey<'a>>,
    tag: &Tag,
    plan: &Plan,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<VariantImage, Error> {
    let converter: Arc<dyn LayerConverter> = Arc::new(ZstdConverter::new(settings.level));
    let outcomes = convert_layers(source, target, &converter, plan, settings, progress).await?;
    let marks = converter.settings();

    let mut made = Vec::new();
    for conversion in plan.conversions() {
        made.push(make_manifest(conversion, &outcomes, &marks)?);
    }
    for conversion in plan.conversions() {
        copy_unchanged(source, target, conversion, &outcomes).await?;
    }
    let top = match &plan.shape {
        Shape::Single(_) => made.first().map(|made| made.manifest.clone()),
        Shape::Index { index, entries } => {
            let entries = place_entries(source, target, index, entries, &made).await?;
            let converted = index.converted(&plan.source.digest, &marks, &entries);
            Some(converted.map_err(|error| member(&plan.source.digest, error))?)
        }
    };
    let Some(top) = top else { unreachable!("a plan has at least one conversion") };
    require_unmoved(source, key, &plan.source.digest).await?;
    target.put_manifest(&top, &top.media_type()?, Some(tag)).await?;
    Ok(VariantImage {
        digest: top.digest,
        settings: marks,
        platforms: made.into_iter().map(|made| made.report).collect(),
    })
}

/// Each layer once, however many manifests name it; the largest first, so that none of them is left
/// to run alone at the end.
async fn convert_layers(
    source: &dyn Repository,
    target: &dyn Repository,
    converter: &Arc<dyn LayerConverter>,
    plan: &Plan,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<HashMap<Digest, LayerOutcome>, Error> {
    // Owned: a future that borrows them can't be proven to be `Send`.
    let mut layers: Vec<Descriptor> =
        plan.conversions().flat_map(|manifest| manifest.manifest.layers.iter().cloned()).collect();
    layers.sort_by(|one, other| other.size().cmp(&one.size()).then(one.digest().cmp(other.digest())));
    layers.dedup_by_key(|layer| layer.digest().clone());
    stream::iter(layers)
        .map(|layer| async move {
            let outcome = convert_layer(source, target, converter, &layer, progress).await?;
            Ok((layer.digest().clone(), outcome))
        })
        .buffer_unordered(settings.layers_at_once.max(1))
        .try_collect()
        .await
}

/// The variant's manifest. Every layer must unpack to what the config promises.
fn make_manifest(
    plan: &ManifestPlan,
    outcomes: &HashMap<Digest, LayerOutcome>,
    marks: &str,
) -> Result<Made, Error> {
    let digest = &plan.raw.digest;
    let mut layers = Vec::with_capacity(plan.manifest.layers.len());
    let mut converted_layers = 0;
    for (layer, promised) in plan.manifest.layers.iter().zip(&plan.diff_ids) {
        let LayerOutcome { diff_id, written } = &outcomes[layer.digest()];
        if diff_id != promised {
            return Err(Error::DiffId {
                manifest: digest.clone(),
                layer: layer.digest().clone(),
                found: diff_id.clone(),
                promised: promised.clone(),
            });
        }
        let next = match written {
            Some(Written { digest, size }) => {
                converted_layers += 1;
                layer.recompressed(digest.clone(), *size)
            }
            None => layer.with_media_type(media_type::OCI_TAR_ZSTD),
        };
        layers.push(next.map_err(|error| member(digest, error))?);
    }
    let manifest = plan.manifest.converted(digest, marks, &layers);
    Ok(Made {
        manifest: manifest.map_err(|error| member(digest, error))?,
        report: PlatformReport {
            platform: plan.platform.clone(),
            source_bytes: plan.source_bytes(),
            variant_bytes: layers.iter().map(Descriptor::size).sum(),
            layers: layers.len(),
            converted_layers,
        },
    })
}

/// Everything that the variant's index will list, brought to where the index will be: `made` has the
/// converted manifests, in order.
async fn place_entries(
    source: &dyn Repository,
    target: &dyn Repository,
    index: &ImageIndex,
    plans: &[EntryPlan],
    made: &[Made],
) -> Result<Vec<Descriptor>, Error> {
    let mut made = made.iter();
    let mut descriptors = Vec::with_capacity(plans.len());
    for (IndexEntry { descriptor, .. }, plan) in index.entries.iter().zip(plans) {
        match plan {
            EntryPlan::Drop => {}
            EntryPlan::Keep(_) => {
                copy_entry(source, target, descriptor).await?;
                descriptors.push(descriptor.clone());
            }
            EntryPlan::Convert(_) => {
                let Some(Made { manifest, report: _ }) = made.next() else { continue };
                target.put_manifest(manifest, media_type::OCI_MANIFEST, None).await?;
                let converted = descriptor.converted(manifest.digest.clone(), manifest.bytes.len() as u64);
                descriptors.push(converted.map_err(|error| member(descriptor.digest(), error))?);
            }
        }
    }
    Ok(descriptors)
}

/// The config and the layers that stay as they are.
async fn copy_unchanged(
    source: &dyn Repository,
    target: &dyn Repository,
    plan: &ManifestPlan,
    outcomes: &HashMap<Digest, LayerOutcome>,
) -> Result<(), Error> {
    copy_blob(source, target, plan.manifest.config.digest()).await?;
    for layer in &plan.manifest.layers {
        if outcomes[layer.digest()].written.is_none() {
            copy_blob(source, target, layer.digest()).await?;
        }
    }
    Ok(())
}

/// Whether a reference means `from` still. A tag that moved is [`Error::SourceMoved`]: its new image
/// is what pods want now.
pub async fn require_unmoved<'a>(
    source: &dyn Repository,
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

fn member(digest: &Digest, source: JsonError) -> Error {
    Error::Member { digest: digest.clone(), source }
}

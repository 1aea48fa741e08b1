//! Phase *execute*: layers, then manifests, then the index, then the tag.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use zstart_core::{Digest, Tag};

use super::copy::{copy_blob, copy_entry};
use super::earlier;
use super::layers::{LayerOutcome, Workshop, Written, provide_layer};
use super::places::Places;
use super::{PlatformReport, VariantImage};
use crate::error::Error;
use crate::memory::LayerMemory;
use crate::plan::{EntryPlan, ManifestPlan, Plan, Shape};
use crate::progress::Progress;
use crate::settings::Settings;
use zstart_codec::LayerConverter as _;
use zstart_codec::ZstdConverter;
use zstart_oci::{Descriptor, ImageIndex, IndexEntry, JsonError, RawManifest, media_type};
use zstart_registry::{ManifestKey, Repository};

/// How many layers more than [`Settings::layers_at_once`] are looked up, asked for, or put away at the same
/// time: that takes connections, and 1 MiB at most of what the target hasn't taken yet.
const LAYERS_BESIDE: usize = 4;

/// What a conversion works with.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// Where the image is.
    pub source: &'a dyn Repository,
    /// Where the variant goes.
    pub target: &'a dyn Repository,
    /// How it is converted.
    pub settings: &'a Settings,
    /// What earlier conversions of this process have found out.
    pub memory: &'a LayerMemory,
    /// Who watches.
    pub progress: &'a dyn Progress,
}

/// A layer that a conversion needs.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) layer: Descriptor,
    /// What it unpacks to, by the config.
    pub(super) diff_id: Digest,
}

/// A variant that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// What stands in the target now.
    pub image: VariantImage,
    /// How many of its layers this process or an earlier variant had made before; one that several
    /// platforms share counts once.
    pub layers_made_before: usize,
}

/// What became of all layers, by the digests of the source's.
struct Provided {
    outcomes: HashMap<Digest, LayerOutcome>,
    made_before: usize,
}

/// A manifest that was made but not pushed yet.
struct MadeManifest {
    manifest: RawManifest,
    report: PlatformReport,
}

/// Makes the variant that `plan` describes and puts it under `tag`.
///
/// The tag comes last, and only while `key` still means what was planned: whatever happens
/// before, nothing half-made has a name. All layers, those that stay as they are too, have been
/// compared with the config's `diff_ids` before the first manifest is pushed.
pub async fn execute<'a>(
    job: Job<'_>,
    key: impl Into<ManifestKey<'a>>,
    tag: &Tag,
    plan: &Plan,
) -> Result<Made, Error> {
    let Job { source, target, settings, memory: _, progress: _ } = job;
    let converter = ZstdConverter::new(settings.level);
    let converter = if settings.force { converter.encoding_all() } else { converter };
    let workshop = Workshop {
        job: &job,
        marks: converter.settings(),
        converter: Arc::new(converter),
        places: Places::new(settings.layers_at_once),
    };
    let Provided { outcomes, made_before } = provide_layers(&workshop, tag, plan).await?;
    // With what its converter holds.
    let Workshop { marks, .. } = workshop;

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
    let platforms = made.into_iter().map(|made| made.report).collect();
    let image = VariantImage { digest: top.digest, settings: marks, platforms };
    Ok(Made { image, layers_made_before: made_before })
}

/// Each layer once, however many manifests name it; the largest first, so that none of them is left
/// to run alone at the end.
async fn provide_layers(workshop: &Workshop<'_>, tag: &Tag, plan: &Plan) -> Result<Provided, Error> {
    let Workshop { job, marks, converter: _, places: _ } = workshop;
    let wanted = wanted_layers(plan);
    let hints = if job.settings.force {
        HashMap::new()
    } else {
        let unknown = wanted.iter().map(|Wanted { layer, diff_id: _ }| layer);
        let unknown = unknown.filter(|layer| !job.memory.knows(layer.digest(), marks));
        let unknown: Vec<_> = unknown.map(|layer| (layer.digest().clone(), layer.size())).collect();
        earlier::layers(job.target, tag, marks, &unknown).await
    };
    let mut layers = stream::iter(wanted)
        .map(|wanted| {
            let hint = hints.get(wanted.layer.digest());
            async move {
                let provided = provide_layer(workshop, &wanted, hint).await?;
                Ok::<_, Error>((wanted.layer.digest().clone(), provided))
            }
        })
        .buffer_unordered(job.settings.layers_at_once.get().saturating_add(LAYERS_BESIDE));
    let mut provided = Provided { outcomes: HashMap::new(), made_before: 0 };
    while let Some((digest, layer)) = layers.try_next().await? {
        provided.made_before += usize::from(layer.made_before);
        provided.outcomes.insert(digest, layer.outcome);
    }
    Ok(provided)
}

// Owned: a future that borrows them can't be proven to be `Send`.
fn wanted_layers(plan: &Plan) -> Vec<Wanted> {
    let layers = plan.conversions().flat_map(|manifest| {
        let layers = manifest.manifest.layers.iter().zip(&manifest.diff_ids);
        layers.map(|(layer, diff_id)| Wanted { layer: layer.clone(), diff_id: diff_id.clone() })
    });
    let mut wanted: Vec<Wanted> = layers.collect();
    wanted.sort_by(|Wanted { layer: one, .. }, Wanted { layer: other, .. }| {
        other.size().cmp(&one.size()).then(one.digest().cmp(other.digest()))
    });
    wanted.dedup_by_key(|wanted| wanted.layer.digest().clone());
    wanted
}

/// The variant's manifest. Every layer must unpack to what the config promises.
fn make_manifest(
    plan: &ManifestPlan,
    outcomes: &HashMap<Digest, LayerOutcome>,
    marks: &str,
) -> Result<MadeManifest, Error> {
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
    Ok(MadeManifest {
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
    made: &[MadeManifest],
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
                let Some(MadeManifest { manifest, report: _ }) = made.next() else { continue };
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

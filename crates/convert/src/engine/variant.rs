//! Phases *find* and *verify*: is what stands under a variant's tag the variant of this source?
//!
//! Whoever may push to a repository may put anything under that tag, so annotations are only a
//! hint. What counts is that each converted manifest names the very config of its source: runtimes
//! compare every unpacked layer with that config's `diff_ids` before they start it, so a manifest
//! with the source's config can only ever run the source's files.

use std::collections::BTreeMap;

use zstart_core::{Digest, Platform, Tag, keys};

use super::execute::require_unmoved;
use super::{PlatformReport, VariantImage};
use crate::error::Error;
use crate::plan::{EntryPlan, KeepReason, ManifestPlan, Plan, Shape};
use zstart_oci::{Descriptor, Document, ImageIndex, ImageManifest, RawManifest, media_type};
use zstart_registry::{ManifestKey, Repository};

/// What stands under a variant's tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Nothing.
    Nothing,
    /// The variant of the plan.
    Variant(VariantImage),
    /// A variant of this source, but not of all that the plan converts. Whoever makes the variant
    /// anew must convert these too, or takes them from those who share the repository.
    Partial(Vec<Platform>),
}

/// What a manifest turned out to be.
enum Found {
    /// The variant of the plan.
    Variant(VariantImage),
    /// As [`Existing::Partial`].
    Partial(Vec<Platform>),
    /// Something else.
    Other(String),
}

/// Looks for the variant of this plan under `tag`.
///
/// A variant with other settings counts: the same files, found again, are worth more than a few
/// percent. Something else under the tag is [`Error::VariantConflict`].
pub async fn find_variant(target: &dyn Repository, tag: &Tag, plan: &Plan) -> Result<Existing, Error> {
    let Some(manifest) = target.manifest_if_there(ManifestKey::Tag(tag)).await? else {
        return Ok(Existing::Nothing);
    };
    match compare(target, &manifest, plan).await? {
        Found::Variant(image) => Ok(Existing::Variant(image)),
        Found::Partial(platforms) => Ok(Existing::Partial(platforms)),
        Found::Other(found) => {
            Err(Error::VariantConflict { location: target.location().to_owned(), tag: tag.clone(), found })
        }
    }
}

/// Puts a variant of this plan that the target already has, by digest, under another tag. Nothing is
/// converted. `None` where `digest` isn't such a variant, or isn't there any more.
pub async fn adopt<'a>(
    repository: &dyn Repository,
    key: impl Into<ManifestKey<'a>>,
    tag: &Tag,
    plan: &Plan,
    digest: &Digest,
) -> Result<Option<VariantImage>, Error> {
    let Some(manifest) = repository.manifest_if_there(ManifestKey::Digest(digest)).await? else {
        return Ok(None);
    };
    let Found::Variant(image) = compare(repository, &manifest, plan).await? else { return Ok(None) };
    require_unmoved(repository, key, &plan.source.digest).await?;
    repository.put_manifest(&manifest, &manifest.media_type()?, Some(tag)).await?;
    Ok(Some(image))
}

/// Reads back what the tag says: it must be `image`, with every layer in its place.
pub async fn verify(
    target: &dyn Repository,
    tag: &Tag,
    plan: &Plan,
    image: &VariantImage,
) -> Result<(), Error> {
    let failed = |found: String| Error::NotVerified {
        location: target.location().to_owned(),
        tag: tag.clone(),
        found,
    };
    let manifest = target.manifest(ManifestKey::Tag(tag)).await?;
    if manifest.digest != image.digest {
        return Err(failed(format!("it means {}, but {} was pushed", manifest.digest, image.digest)));
    }
    match compare(target, &manifest, plan).await? {
        Found::Variant(_) => {}
        Found::Partial(_) => return Err(failed("a platform is missing".to_owned())),
        Found::Other(found) => return Err(failed(found)),
    }
    for manifest in converted_manifests(target, &manifest).await? {
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            if !target.has_blob(blob.digest()).await? {
                return Err(failed(format!("blob {} is missing", blob.digest())));
            }
        }
    }
    Ok(())
}

async fn compare(target: &dyn Repository, found: &RawManifest, plan: &Plan) -> Result<Found, Error> {
    let document = match found.read() {
        Ok(document) => document,
        Err(error) => return Ok(Found::Other(error.to_string())),
    };
    match (document, &plan.shape) {
        (Document::Manifest(manifest), Shape::Single(expected)) => {
            let annotations = manifest.annotations();
            let annotations =
                annotations.map_err(|source| Error::Member { digest: found.digest.clone(), source })?;
            Ok(match compare_manifest(&manifest, expected) {
                Ok(report) => variant(found, &annotations, vec![report]),
                Err(other) => Found::Other(other),
            })
        }
        (Document::Index(index), Shape::Index { index: source, entries }) => {
            let annotations = index.annotations();
            let annotations =
                annotations.map_err(|source| Error::Member { digest: found.digest.clone(), source })?;
            if annotations.get(keys::SOURCE_DIGEST).map(String::as_str) != Some(plan.source.digest.as_str()) {
                return Ok(Found::Other("it was not made of this image".to_owned()));
            }
            let mut reports = Vec::new();
            let mut is_whole = true;
            for (entry, expected) in source.entries.iter().zip(entries) {
                let EntryPlan::Convert(expected) = expected else { continue };
                let Some(raw) = part(target, &index, &entry.descriptor).await? else {
                    is_whole = false;
                    continue;
                };
                let Document::Manifest(manifest) = raw.read()? else {
                    return Ok(Found::Other(format!("{} is not a manifest", raw.digest)));
                };
                match compare_manifest(&manifest, expected) {
                    Ok(report) => reports.push(report),
                    Err(other) => return Ok(Found::Other(other)),
                }
            }
            if is_whole {
                return Ok(variant(found, &annotations, reports));
            }
            let others = source.entries.iter().zip(entries).filter(|(entry, plan)| {
                matches!(plan, EntryPlan::Keep(KeepReason::NotSelected))
                    && made_of(&index, &entry.descriptor).is_some()
            });
            Ok(Found::Partial(others.filter_map(|(entry, _)| entry.platform.clone()).collect()))
        }
        (Document::Manifest(_), Shape::Index { .. }) => Ok(Found::Other("it is no index".to_owned())),
        (Document::Index(_), Shape::Single(_)) => Ok(Found::Other("it is an index".to_owned())),
    }
}

fn variant(
    found: &RawManifest,
    annotations: &BTreeMap<String, String>,
    platforms: Vec<PlatformReport>,
) -> Found {
    let settings = annotations.get(keys::SETTINGS).cloned().unwrap_or_default();
    Found::Variant(VariantImage { digest: found.digest.clone(), settings, platforms })
}

/// Whether a manifest is the variant of a plan's: the same config, and layers that are all zstd.
fn compare_manifest(found: &ImageManifest, expected: &ManifestPlan) -> Result<PlatformReport, String> {
    let annotations = found.annotations().unwrap_or_default();
    if annotations.get(keys::SOURCE_DIGEST).map(String::as_str) != Some(expected.raw.digest.as_str()) {
        return Err("it was not made of this image".to_owned());
    }
    if found.config.digest() != expected.manifest.config.digest() {
        return Err(format!("its config is {}, not the source's", found.config.digest()));
    }
    let (layers, wanted) = (found.layers.len(), expected.manifest.layers.len());
    if layers != wanted {
        return Err(format!("it has {layers} layers, the source {wanted}"));
    }
    if let Some(layer) = found.layers.iter().find(|layer| layer.media_type() != media_type::OCI_TAR_ZSTD) {
        return Err(format!("layer {} has type {}", layer.digest(), layer.media_type()));
    }
    let encoded = |layer: &&Descriptor| {
        layer.annotations().is_ok_and(|annotations| annotations.contains_key(keys::LAYER_SOURCE_DIGEST))
    };
    Ok(PlatformReport {
        platform: expected.platform.clone(),
        source_bytes: expected.source_bytes(),
        variant_bytes: found.layers.iter().map(Descriptor::size).sum(),
        layers,
        converted_layers: found.layers.iter().filter(encoded).count(),
    })
}

/// The manifest of a variant's index that was made of a source's entry. `None` where it isn't listed,
/// or where somebody deleted it: it can be made again.
async fn part(
    target: &dyn Repository,
    index: &ImageIndex,
    source: &Descriptor,
) -> Result<Option<RawManifest>, Error> {
    match made_of(index, source) {
        Some(descriptor) => Ok(target.manifest_if_there(ManifestKey::Digest(descriptor.digest())).await?),
        None => Ok(None),
    }
}

/// The entry of a variant's index that was made of a source's entry.
fn made_of<'a>(index: &'a ImageIndex, source: &Descriptor) -> Option<&'a Descriptor> {
    index.entries.iter().map(|entry| &entry.descriptor).find(|descriptor| {
        descriptor.annotations().is_ok_and(|annotations| {
            annotations.get(keys::SOURCE_DIGEST).map(String::as_str) == Some(source.digest().as_str())
        })
    })
}

/// The manifests of a variant that zstart made, as far as they are there: [`compare`] has asked for
/// those that the plan needs.
async fn converted_manifests(
    target: &dyn Repository,
    found: &RawManifest,
) -> Result<Vec<ImageManifest>, Error> {
    let index = match found.read()? {
        Document::Manifest(manifest) => return Ok(vec![manifest]),
        Document::Index(index) => index,
    };
    let mut manifests = Vec::new();
    for entry in &index.entries {
        let ours = entry.descriptor.annotations();
        if !ours.is_ok_and(|annotations| annotations.contains_key(keys::SOURCE_DIGEST)) {
            continue;
        }
        if let Some(raw) = target.manifest_if_there(ManifestKey::Digest(entry.descriptor.digest())).await?
            && let Document::Manifest(manifest) = raw.read()?
        {
            manifests.push(manifest);
        }
    }
    Ok(manifests)
}

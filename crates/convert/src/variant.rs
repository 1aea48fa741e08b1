//! Finding a variant: does the tag name the variant of this source?
//!
//! Every client with push rights can put anything under that tag, so annotations are only a hint. What counts
//! is that each converted manifest names its source's config: runtimes compare every unpacked layer with that
//! config's `diff_ids` before they start a container, so a manifest with the source's config can only run the
//! source's files.

use std::collections::BTreeMap;

use zstart_core::{Digest, Platform, Tag, keys};

use crate::error::Error;
use crate::execute::ensure_source_unchanged;
use crate::plan::{EntryPlan, KeepReason, ManifestPlan, Plan, Shape};
use crate::variant_image::{PlatformReport, VariantImage};
use zstart_oci::{Descriptor, Document, ImageIndex, ImageManifest, RawManifest, media_type};
use zstart_registry::{ErrorKind, ManifestKey, RegistryError, Store, TagLookup};

/// The manifest under a variant's tag.
#[derive(Debug)]
pub enum Existing {
    /// There is none.
    Nothing,
    /// The variant of the plan.
    Variant(VariantImage),
    /// A variant of this source that lacks platforms of the plan. A new variant must include the platforms in
    /// this list too, or other users of the repository lose them.
    Partial(Vec<Platform>),
    /// Probably none: the registry refuses to show the tag, and its list of tags lacks it. A list may be
    /// shortened, so that a push could replace an image.
    Unlisted(RegistryError),
    /// Unknown: the registry refuses to show the tag and the list of tags. It may refuse to show what doesn't
    /// exist. A push decides, but could replace an image that these credentials may not read.
    Refused(RegistryError),
}

/// The result of a comparison with a plan.
pub(crate) enum Comparison {
    /// The variant of the plan.
    Variant(VariantImage),
    /// As [`Existing::Partial`].
    Partial(Vec<Platform>),
    /// Something else; the text says what differs.
    Other(String),
}

/// Looks for the variant of this plan under `tag`.
///
/// A variant with other settings is accepted: a finished variant is worth more than a few percent of size.
/// Another manifest under the tag is [`Error::VariantConflict`].
pub async fn find_variant(target: &dyn Store, tag: &Tag, plan: &Plan) -> Result<Existing, Error> {
    let manifest = match target.look_up_tag(tag).await? {
        TagLookup::Found(manifest) => manifest,
        TagLookup::Absent => return Ok(Existing::Nothing),
        TagLookup::Unlisted(error) => return Ok(Existing::Unlisted(error)),
        TagLookup::Refused(error) => return Ok(Existing::Refused(error)),
    };
    match compare(target, &manifest, plan).await? {
        Comparison::Variant(image) => Ok(Existing::Variant(image)),
        Comparison::Partial(platforms) => Ok(Existing::Partial(platforms)),
        Comparison::Other(found) => {
            Err(Error::VariantConflict { location: target.location().to_owned(), tag: tag.clone(), found })
        }
    }
}

/// Puts a variant of this plan that the repository already has under another tag. Converts nothing. `None` if
/// `digest` is no such variant, or doesn't exist any more.
pub async fn adopt<'a>(
    repository: &dyn Store,
    key: impl Into<ManifestKey<'a>>,
    tag: &Tag,
    plan: &Plan,
    digest: &Digest,
) -> Result<Option<VariantImage>, Error> {
    let Some(manifest) = find_listed(repository, digest).await? else { return Ok(None) };
    let Comparison::Variant(image) = compare(repository, &manifest, plan).await? else { return Ok(None) };
    ensure_source_unchanged(repository, key, &plan.source.digest).await?;
    repository.put_manifest(&manifest, &manifest.media_type()?, Some(tag)).await?;
    Ok(Some(image))
}

/// Compares a manifest or index with a plan.
pub(crate) async fn compare(
    target: &dyn Store,
    found: &RawManifest,
    plan: &Plan,
) -> Result<Comparison, Error> {
    let document = match found.read() {
        Ok(document) => document,
        Err(error) => return Ok(Comparison::Other(error.to_string())),
    };
    match (document, &plan.shape) {
        (Document::Manifest(manifest), Shape::Single(expected)) => {
            let annotations = manifest.annotations();
            let annotations =
                annotations.map_err(|source| Error::Member { digest: found.digest.clone(), source })?;
            Ok(match compare_manifest(&manifest, expected) {
                Ok(report) => variant(found, &annotations, vec![report]),
                Err(other) => Comparison::Other(other),
            })
        }
        (Document::Index(index), Shape::Index { index: source, entries }) => {
            let annotations = index.annotations();
            let annotations =
                annotations.map_err(|source| Error::Member { digest: found.digest.clone(), source })?;
            if annotations.get(keys::SOURCE_DIGEST).map(String::as_str) != Some(plan.source.digest.as_str()) {
                return Ok(Comparison::Other("the manifest was not made from this image".to_owned()));
            }
            let mut reports = Vec::new();
            let mut is_complete = true;
            for (entry, expected) in source.entries.iter().zip(entries) {
                let EntryPlan::Convert(expected) = expected else { continue };
                let Some(raw) = converted_manifest(target, &index, &entry.descriptor).await? else {
                    is_complete = false;
                    continue;
                };
                let Document::Manifest(manifest) = raw.read()? else {
                    return Ok(Comparison::Other(format!("{} is not a manifest", raw.digest)));
                };
                match compare_manifest(&manifest, expected) {
                    Ok(report) => reports.push(report),
                    Err(other) => return Ok(Comparison::Other(other)),
                }
            }
            if is_complete {
                return Ok(variant(found, &annotations, reports));
            }
            let others = source.entries.iter().zip(entries).filter(|(entry, plan)| {
                matches!(plan, EntryPlan::Keep(KeepReason::NotSelected))
                    && converted_entry(&index, &entry.descriptor).is_some()
            });
            Ok(Comparison::Partial(others.filter_map(|(entry, _)| entry.platform.clone()).collect()))
        }
        (Document::Manifest(_), Shape::Index { .. }) => {
            Ok(Comparison::Other("the tag names a manifest, not an index".to_owned()))
        }
        (Document::Index(_), Shape::Single(_)) => {
            Ok(Comparison::Other("the tag names an index, not a manifest".to_owned()))
        }
    }
}

fn variant(
    found: &RawManifest,
    annotations: &BTreeMap<String, String>,
    platforms: Vec<PlatformReport>,
) -> Comparison {
    let settings = annotations.get(keys::SETTINGS).cloned().unwrap_or_default();
    Comparison::Variant(VariantImage { digest: found.digest.clone(), settings, platforms })
}

/// Compares a manifest with a plan's: it must have the config of the plan, and zstd layers only.
fn compare_manifest(found: &ImageManifest, expected: &ManifestPlan) -> Result<PlatformReport, String> {
    let annotations = found.annotations().unwrap_or_default();
    if annotations.get(keys::SOURCE_DIGEST).map(String::as_str) != Some(expected.raw.digest.as_str()) {
        return Err("the manifest was not made from this image".to_owned());
    }
    if found.config.digest() != expected.manifest.config.digest() {
        return Err(format!("the config is {}, not the source's", found.config.digest()));
    }
    let (layers, wanted) = (found.layers.len(), expected.manifest.layers.len());
    if layers != wanted {
        return Err(format!("the manifest has {layers} layers, the source {wanted}"));
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

/// Reads the manifest in a variant's index that was made from a source's entry. `None` if the index doesn't
/// list it, or if it was deleted: a conversion can make it again.
async fn converted_manifest(
    target: &dyn Store,
    index: &ImageIndex,
    source: &Descriptor,
) -> Result<Option<RawManifest>, Error> {
    match converted_entry(index, source) {
        Some(descriptor) => find_listed(target, descriptor.digest()).await,
        None => Ok(None),
    }
}

/// Reads a manifest that a readable index of the same repository lists. Denied means missing: some registries
/// deny what doesn't exist. A registry may also block the manifest by a policy, and then each run converts it
/// again, so the log names it.
pub(crate) async fn find_listed(target: &dyn Store, digest: &Digest) -> Result<Option<RawManifest>, Error> {
    match target.find_manifest(ManifestKey::Digest(digest)).await {
        Ok(found) => Ok(found),
        Err(error) if error.kind == ErrorKind::Denied => {
            let error = error.chain();
            tracing::warn!(manifest = %digest, error, "a denied manifest of a variant counts as missing");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The entry of a variant's index that was made from a source's entry.
fn converted_entry<'a>(index: &'a ImageIndex, source: &Descriptor) -> Option<&'a Descriptor> {
    index.entries.iter().map(|entry| &entry.descriptor).find(|descriptor| {
        descriptor.annotations().is_ok_and(|annotations| {
            annotations.get(keys::SOURCE_DIGEST).map(String::as_str) == Some(source.digest().as_str())
        })
    })
}

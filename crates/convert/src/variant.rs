//! Comparing a manifest with a plan: is it a variant of this source?
//!
//! Every client with push rights can put anything under a variant's tag, so annotations are only a hint. What
//! counts is that each converted manifest names its source's config: runtimes compare every unpacked layer with
//! that config's `diff_ids` before they start a container, so a manifest with the source's config can only run
//! the source's files.

use std::collections::BTreeMap;

use zstart_core::variant::ContentHash;
use zstart_core::{Digest, Platform, Tag, keys};

use crate::error::Error;
use crate::plan::{EntryPlan, KeepReason, ManifestPlan, Plan, Shape};
use crate::presence::serves_blob;
use crate::variant_image::{PlatformReport, VariantImage};
use zstart_oci::{Descriptor, Document, ImageIndex, ImageManifest, IndexEntry, RawManifest, media_type};
use zstart_registry::{ErrorKind, ManifestKey, RegistryError, Store, TagLookup};

/// The manifest under a tag that a user chose.
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
    /// A variant of the plan's source.
    Variant(Box<ComparedVariant>),
    /// Something else; the text says what differs.
    Other(String),
}

/// A variant of a plan's source.
pub(crate) struct ComparedVariant {
    /// The variant, with those of its platforms that the plan selects.
    pub(crate) image: VariantImage,
    /// Every platform of the plan is converted.
    pub(crate) is_complete: bool,
    /// Converted platforms that the plan doesn't select.
    pub(crate) other_platforms: Vec<Platform>,
    /// Converted manifests.
    manifests: Vec<ImageManifest>,
    /// Converted manifests that the index lists and the repository lacks.
    missing: Vec<Digest>,
}

/// Looks for the variant of this plan under a tag that a user chose.
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
        Comparison::Variant(found) if found.is_complete => Ok(Existing::Variant(found.image)),
        Comparison::Variant(found) => Ok(Existing::Partial(found.other_platforms)),
        Comparison::Other(found) => {
            Err(Error::VariantConflict { location: target.location().to_owned(), tag: tag.clone(), found })
        }
    }
}

/// Compares a manifest or index with a plan, and reads the converted manifests that an index lists.
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
                Ok(report) => Comparison::Variant(Box::new(ComparedVariant {
                    image: variant_image(found, &annotations, vec![report]),
                    is_complete: true,
                    other_platforms: Vec::new(),
                    manifests: vec![manifest],
                    missing: Vec::new(),
                })),
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
            let image = variant_image(found, &annotations, Vec::new());
            compare_entries(target, image, &index, source.entries.iter().zip(entries)).await
        }
        (Document::Manifest(_), Shape::Index { .. }) => {
            Ok(Comparison::Other("the tag names a manifest, not an index".to_owned()))
        }
        (Document::Index(_), Shape::Single(_)) => {
            Ok(Comparison::Other("the tag names an index, not a manifest".to_owned()))
        }
    }
}

/// Compares the entries of a variant's index with the source's.
async fn compare_entries(
    target: &dyn Store,
    image: VariantImage,
    index: &ImageIndex,
    planned: impl Iterator<Item = (&IndexEntry, &EntryPlan)>,
) -> Result<Comparison, Error> {
    let mut variant = ComparedVariant {
        image,
        is_complete: true,
        other_platforms: Vec::new(),
        manifests: Vec::new(),
        missing: Vec::new(),
    };
    for (entry, plan) in planned {
        let expected = match plan {
            EntryPlan::Convert(expected) => Some(expected),
            EntryPlan::Keep(KeepReason::NotSelected) => None,
            EntryPlan::Keep(_) | EntryPlan::Drop => continue,
        };
        let Some(listed) = converted_entry(index, &entry.descriptor) else {
            variant.is_complete &= expected.is_none();
            continue;
        };
        if expected.is_none() {
            variant.other_platforms.extend(entry.platform.clone());
        }
        let Some(raw) = find_listed(target, listed.digest()).await? else {
            variant.is_complete &= expected.is_none();
            variant.missing.push(listed.digest().clone());
            continue;
        };
        let Ok(Document::Manifest(manifest)) = raw.read() else {
            return Ok(Comparison::Other(format!("{} is not a manifest", raw.digest)));
        };
        if let Some(expected) = expected {
            match compare_manifest(&manifest, expected) {
                Ok(report) => variant.image.platforms.push(report),
                Err(other) => return Ok(Comparison::Other(other)),
            }
        }
        variant.manifests.push(manifest);
    }
    Ok(Comparison::Variant(Box::new(variant)))
}

fn variant_image(
    found: &RawManifest,
    annotations: &BTreeMap<String, String>,
    platforms: Vec<PlatformReport>,
) -> VariantImage {
    let settings = annotations.get(keys::SETTINGS).cloned().unwrap_or_default();
    VariantImage { digest: found.digest.clone(), settings, platforms }
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

/// Looks for everything that a variant names: its converted manifests, their configs and layers. Returns what
/// is missing.
pub(crate) async fn find_defect(
    target: &dyn Store,
    variant: &ComparedVariant,
) -> Result<Option<String>, Error> {
    if let Some(missing) = variant.missing.first() {
        return Ok(Some(format!("manifest {missing} is missing")));
    }
    for manifest in &variant.manifests {
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            match serves_blob(target, blob.digest()).await {
                Ok(true) => {}
                Ok(false) => return Ok(Some(format!("blob {} is missing", blob.digest()))),
                // The credentials may read the manifest. Storage and registries that list nothing deny what
                // doesn't exist (S3: 403 without the right to list).
                Err(error) if error.kind == ErrorKind::Denied => {
                    let cause = error.chain();
                    return Ok(Some(format!("blob {} is missing or denied: {cause}", blob.digest())));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(None)
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
pub(crate) fn converted_entry<'a>(index: &'a ImageIndex, source: &Descriptor) -> Option<&'a Descriptor> {
    index.entries.iter().map(|entry| &entry.descriptor).find(|descriptor| {
        descriptor.annotations().is_ok_and(|annotations| {
            annotations.get(keys::SOURCE_DIGEST).map(String::as_str) == Some(source.digest().as_str())
        })
    })
}

/// Hash of a variant's content, for its tag: of the manifests that an index says were converted, or of a single
/// manifest itself.
pub(crate) fn content_hash(variant: &RawManifest) -> Result<ContentHash, Error> {
    let digest = &variant.digest;
    let member = |source| Error::Member { digest: digest.clone(), source };
    let (annotations, manifests) = match variant.read()? {
        Document::Manifest(manifest) => (manifest.annotations().map_err(member)?, vec![digest.clone()]),
        Document::Index(index) => {
            let mut manifests = Vec::new();
            for IndexEntry { descriptor, .. } in &index.entries {
                if descriptor.annotations().map_err(member)?.contains_key(keys::SOURCE_DIGEST) {
                    manifests.push(descriptor.digest().clone());
                }
            }
            (index.annotations().map_err(member)?, manifests)
        }
    };
    let settings = annotations.get(keys::SETTINGS).map(String::as_str).unwrap_or_default();
    Ok(ContentHash::of(&manifests, settings))
}

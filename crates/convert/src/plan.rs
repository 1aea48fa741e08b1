//! Plan of a conversion: what happens to each manifest and layer of an image. The decisions are pure.

use zstart_core::digest::Algorithm;
use zstart_core::{Digest, Platform};

use crate::settings::PlatformSelection;
use zstart_oci::media_type::{self, LayerKind};
use zstart_oci::soci;
use zstart_oci::{Descriptor, ImageConfig, ImageIndex, ImageManifest, IndexEntry, RawManifest};

mod refusal;
#[cfg(test)]
mod tests;

pub use refusal::Refusal;

/// Highest number of layers. Container runtimes stack at most some hundred layers (overlayfs: 500).
const LAYERS_MAX: usize = 1000;
/// Highest number of index entries. The largest known indexes have some dozens of platforms, each with an
/// attestation. Every entry costs requests.
const ENTRIES_MAX: usize = 500;

/// Plan for one source digest.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The source's manifest or index.
    pub source: RawManifest,
    /// Content of the source.
    pub shape: Shape,
}

/// Content of a source: one image, or an index of several.
#[derive(Clone, Debug)]
pub enum Shape {
    /// A single manifest.
    Single(Box<ManifestPlan>),
    /// An index.
    Index {
        /// The source's index.
        index: ImageIndex,
        /// Plan of each entry, in the index's order.
        entries: Vec<EntryPlan>,
    },
}

/// Plan of one entry of an index.
#[derive(Clone, Debug)]
pub enum EntryPlan {
    /// The variant's entry names the converted manifest.
    Convert(Box<ManifestPlan>),
    /// The entry stays unchanged.
    Keep(KeepReason),
    /// The entry is dropped: it attests the digest of an image that is converted.
    Drop,
}

/// Reason to keep an entry of an index unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeepReason {
    /// The platform isn't selected.
    NotSelected,
    /// The entry is for `unknown/unknown` or attests another entry: no node starts it.
    NoPlatform,
    /// The image can't be converted.
    Refused(Refusal),
}

/// Plan of one manifest.
#[derive(Clone, Debug)]
pub struct ManifestPlan {
    /// The source's manifest, with its bytes.
    pub raw: RawManifest,
    /// The source's manifest, parsed.
    pub manifest: ImageManifest,
    /// The image's platform.
    pub platform: Platform,
    /// Digest of each layer's uncompressed bytes, from the config.
    pub diff_ids: Vec<Digest>,
}

impl Plan {
    /// The manifests that are converted.
    pub fn conversions(&self) -> impl Iterator<Item = &ManifestPlan> {
        let (single, entries) = match &self.shape {
            Shape::Single(manifest) => (Some(&**manifest), &[][..]),
            Shape::Index { index: _, entries } => (None, &entries[..]),
        };
        single.into_iter().chain(entries.iter().filter_map(|entry| match entry {
            EntryPlan::Convert(manifest) => Some(&**manifest),
            EntryPlan::Keep(_) | EntryPlan::Drop => None,
        }))
    }

    /// Whether no layer needs a conversion: every layer of the selected images is OCI zstd.
    pub fn already_zstd(&self) -> bool {
        self.conversions().all(|manifest| {
            manifest.manifest.layers.iter().all(|layer| layer.media_type() == media_type::OCI_TAR_ZSTD)
        })
    }
}

impl ManifestPlan {
    /// Plans one manifest with its config. `listed` is the platform that an index names for the manifest:
    /// container runtimes choose by it, so it has precedence over the config's.
    pub fn new(
        raw: RawManifest,
        manifest: ImageManifest,
        config: &ImageConfig,
        listed: Option<&Platform>,
    ) -> Result<Self, Refusal> {
        require_at_most(LAYERS_MAX, "layers", manifest.layers.len())?;
        for layer in &manifest.layers {
            let digest = layer.digest().clone();
            match media_type::layer_kind(layer.media_type()) {
                LayerKind::Tar | LayerKind::Gzip | LayerKind::Zstd => {}
                LayerKind::Foreign => return Err(Refusal::ForeignLayer { digest }),
                LayerKind::Encrypted => return Err(Refusal::EncryptedLayer { digest }),
                LayerKind::Unknown => {
                    return Err(Refusal::UnknownLayer { digest, media_type: layer.media_type().to_owned() });
                }
            }
        }
        if [listed, config.platform.as_ref()].into_iter().flatten().any(Platform::is_windows) {
            return Err(Refusal::Windows);
        }
        let platform = listed.or(config.platform.as_ref()).ok_or(Refusal::NoPlatform)?.clone();
        let (layers, diff_ids) = (manifest.layers.len(), config.diff_ids.len());
        if diff_ids != layers {
            return Err(Refusal::LayerCount { layers, diff_ids });
        }
        let digests = manifest.layers.iter().map(Descriptor::digest).chain(&config.diff_ids);
        if let Some(digest) = digests.into_iter().find(|digest| digest.algorithm() != Algorithm::Sha256) {
            return Err(Refusal::UnsupportedDigest { digest: digest.clone() });
        }
        Ok(Self { raw, manifest, platform, diff_ids: config.diff_ids.clone() })
    }

    /// Number of layers to encode, by their media types. During the conversion, a layer's first bytes
    /// decide.
    pub fn layers_to_convert(&self) -> usize {
        let kinds = self.manifest.layers.iter().map(|layer| media_type::layer_kind(layer.media_type()));
        kinds.filter(|kind| *kind != LayerKind::Zstd).count()
    }

    /// Sum of the source's compressed layers, in bytes.
    pub fn source_bytes(&self) -> u64 {
        self.manifest.layers.iter().map(Descriptor::size).sum()
    }
}

/// Refuses a manifest that is no convertible container image, before its config is read.
pub fn require_image(manifest: &ImageManifest) -> Result<(), Refusal> {
    if let Some(member) = manifest.artifact_member() {
        return Err(Refusal::Artifact { member });
    }
    let media_type = manifest.config.media_type();
    if !media_type::is_image_config(media_type) {
        return Err(Refusal::NotAnImage { media_type: media_type.to_owned() });
    }
    let mut annotations = manifest.annotations().unwrap_or_default();
    if annotations.contains_key(zstart_core::keys::SOURCE_DIGEST) {
        return Err(Refusal::IsVariant);
    }
    match annotations.remove(soci::INDEX_DIGEST_ANNOTATION) {
        Some(index) => Err(Refusal::Soci { index }),
        None => Ok(()),
    }
}

/// Refuses an index that is an artifact, is too long, or is a variant.
pub fn require_index(index: &ImageIndex) -> Result<(), Refusal> {
    if let Some(member) = index.artifact_member() {
        return Err(Refusal::Artifact { member });
    }
    require_at_most(ENTRIES_MAX, "entries", index.entries.len())?;
    let annotations = index.annotations().unwrap_or_default();
    if annotations.contains_key(zstart_core::keys::SOURCE_DIGEST) { Err(Refusal::IsVariant) } else { Ok(()) }
}

fn require_at_most(max: usize, items: &'static str, count: usize) -> Result<(), Refusal> {
    if count > max { Err(Refusal::TooMany { items, count, max }) } else { Ok(()) }
}

/// Returns why an entry of an index is kept, before its manifest is read; `None` if it may be converted.
pub fn keep_entry(entry: &IndexEntry, selection: &PlatformSelection) -> Option<KeepReason> {
    if media_type::is_index(entry.descriptor.media_type()) {
        return Some(KeepReason::Refused(Refusal::NestedIndex));
    }
    match &entry.platform {
        // The config names the platform. Container runtimes read it there too.
        None if entry.attested_digest.is_none() => None,
        None => Some(KeepReason::NoPlatform),
        Some(platform) if platform.is_unknown() => Some(KeepReason::NoPlatform),
        Some(platform) if platform.is_windows() => Some(KeepReason::Refused(Refusal::Windows)),
        Some(platform) if !selection.contains(platform) => Some(KeepReason::NotSelected),
        Some(_) => None,
    }
}

/// Drops attestations of converted entries: they name digests that the variant's index doesn't have.
pub fn drop_attestations(index: &ImageIndex, entries: &mut [EntryPlan]) {
    let converted: Vec<String> = index
        .entries
        .iter()
        .zip(entries.iter())
        .filter(|(_, plan)| matches!(plan, EntryPlan::Convert(_)))
        .map(|(entry, _)| entry.descriptor.digest().to_string())
        .collect();
    for (entry, plan) in index.entries.iter().zip(entries) {
        if entry.attested_digest.as_ref().is_some_and(|digest| converted.contains(digest)) {
            *plan = EntryPlan::Drop;
        }
    }
}

//! What is to be done with each manifest and layer of an image. The decisions are pure.

use std::fmt;

use zstart_core::digest::Algorithm;
use zstart_core::{Digest, Platform};

use crate::settings::PlatformSelection;
use zstart_oci::media_type::{self, LayerKind};
use zstart_oci::soci;
use zstart_oci::{Descriptor, ImageConfig, ImageIndex, ImageManifest, IndexEntry, RawManifest};

#[cfg(test)]
mod tests;

/// Node runtimes stack no more than some hundred layers (overlayfs: 500).
const LAYERS_MAX: usize = 1000;
/// The largest indexes that are known have some dozens of platforms, each with an attestation. Every
/// entry costs requests.
const ENTRIES_MAX: usize = 500;

/// The whole plan for one source digest.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The source's manifest or index.
    pub source: RawManifest,
    /// What is in it.
    pub shape: Shape,
}

/// One image, or several behind an index.
#[derive(Clone, Debug)]
pub enum Shape {
    /// A manifest of its own.
    Single(Box<ManifestPlan>),
    /// An index.
    Index {
        /// The source's index.
        index: ImageIndex,
        /// What becomes of each of its entries, in the same order.
        entries: Vec<EntryPlan>,
    },
}

/// What becomes of one entry of an index.
#[derive(Clone, Debug)]
pub enum EntryPlan {
    /// The entry will name a converted manifest.
    Convert(Box<ManifestPlan>),
    /// The entry stays as it is.
    Keep(KeepReason),
    /// The entry goes: it attests the digest of an image that is converted.
    Drop,
}

/// Why an entry of an index stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeepReason {
    /// Its platform wasn't asked for.
    NotSelected,
    /// It is for `unknown/unknown`, or attests another entry: not an image that a node starts.
    NoPlatform,
    /// It can't be converted.
    Refused(Refusal),
}

/// What is done with one manifest.
#[derive(Clone, Debug)]
pub struct ManifestPlan {
    /// The source's manifest, as it is.
    pub raw: RawManifest,
    /// The same, read.
    pub manifest: ImageManifest,
    /// Where it runs.
    pub platform: Platform,
    /// The digest of each layer's uncompressed bytes, as the config promises it.
    pub diff_ids: Vec<Digest>,
}

/// Why an image is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has an `artifactType` or a `subject`.
    Artifact {
        /// Which of the two.
        member: &'static str,
    },
    /// Its config isn't an image config: a Helm chart, a WASM module, a signature.
    NotAnImage {
        /// The config's media type.
        media_type: String,
    },
    /// A layer lies elsewhere and may not be pushed.
    ForeignLayer {
        /// Which layer.
        digest: Digest,
    },
    /// A layer is encrypted.
    EncryptedLayer {
        /// Which layer.
        digest: Digest,
    },
    /// A layer has a type that zstart doesn't know.
    UnknownLayer {
        /// Which layer.
        digest: Digest,
        /// Its media type.
        media_type: String,
    },
    /// The config names more layers than there are, or fewer.
    LayerCount {
        /// How many the manifest has.
        layers: usize,
        /// How many the config names.
        diff_ids: usize,
    },
    /// A layer, or what it unpacks to, is named by another digest than SHA-256.
    UnsupportedDigest {
        /// Which digest.
        digest: Digest,
    },
    /// It isn't there, or isn't what the specification says.
    Unreadable {
        /// What is wrong with it.
        reason: String,
    },
    /// It has a SOCI index, by which nodes start it before it is pulled whole: only from gzip.
    Soci {
        /// The index's digest.
        index: String,
    },
    /// It runs on Windows, where zstd layers are untested.
    Windows,
    /// The config names no platform, or one that could not be written down and read again.
    NoPlatform,
    /// Nothing in it is for a platform that was asked for.
    NoSuchPlatform {
        /// What there is.
        found: Vec<Platform>,
    },
    /// An index inside an index.
    NestedIndex,
    /// It lists more than any honest image does.
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many it lists.
        count: usize,
        /// How many are looked at.
        most: usize,
    },
    /// It is a variant that zstart made.
    IsVariant,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Artifact { member } => {
                write!(formatter, "it has {member:?}, so it is an artifact, not an image")
            }
            Self::NotAnImage { media_type } => {
                write!(formatter, "its config is {media_type:?}, not that of a container image")
            }
            Self::ForeignLayer { digest } => {
                write!(formatter, "layer {digest} is foreign: it may not be distributed with the image")
            }
            Self::EncryptedLayer { digest } => write!(formatter, "layer {digest} is encrypted"),
            Self::UnknownLayer { digest, media_type } => {
                write!(formatter, "layer {digest} has the unknown type {media_type:?}")
            }
            Self::LayerCount { layers, diff_ids } => {
                write!(formatter, "its manifest has {layers} layers, but its config names {diff_ids}")
            }
            Self::UnsupportedDigest { digest } => {
                write!(formatter, "{digest} is not a SHA-256 digest, the only kind that runtimes compare")
            }
            Self::Unreadable { reason } => formatter.write_str(reason),
            Self::Soci { index } => {
                write!(formatter, "it has the SOCI index {index}, which works with its gzip layers only")
            }
            Self::Windows => formatter.write_str("it is for Windows, where zstd layers are untested"),
            Self::NoPlatform => formatter.write_str(
                "its config names no operating system or architecture, or not in words like linux/arm/v7",
            ),
            Self::NoSuchPlatform { found } if found.is_empty() => {
                formatter.write_str("it has no platform that can be converted")
            }
            Self::NoSuchPlatform { found } => {
                let found: Vec<String> = found.iter().map(ToString::to_string).collect();
                write!(formatter, "none of its platforms was asked for; it has {}", found.join(", "))
            }
            Self::NestedIndex => formatter.write_str("it is an index inside an index"),
            Self::TooMany { what, count, most } => {
                write!(formatter, "it lists {count} {what}; images of more than {most} are not looked at")
            }
            Self::IsVariant => formatter.write_str("it is a variant made by zstart already"),
        }
    }
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

    /// Whether there is nothing to do: every layer that could be converted is OCI zstd.
    pub fn already_zstd(&self) -> bool {
        self.conversions().all(|manifest| {
            manifest.manifest.layers.iter().all(|layer| layer.media_type() == media_type::OCI_TAR_ZSTD)
        })
    }
}

impl ManifestPlan {
    /// The plan for one manifest and its config.
    pub fn new(raw: RawManifest, manifest: ImageManifest, config: &ImageConfig) -> Result<Self, Refusal> {
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
        let platform = config.platform.clone().ok_or(Refusal::NoPlatform)?;
        if platform.os == "windows" {
            return Err(Refusal::Windows);
        }
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

    /// How many layers are to be encoded anew, as far as media types tell: in the end a layer's first
    /// bytes decide.
    pub fn layers_to_convert(&self) -> usize {
        let kinds = self.manifest.layers.iter().map(|layer| media_type::layer_kind(layer.media_type()));
        kinds.filter(|kind| *kind != LayerKind::Zstd).count()
    }

    /// Sum of the source's compressed layers, in bytes.
    pub fn source_bytes(&self) -> u64 {
        self.manifest.layers.iter().map(Descriptor::size).sum()
    }
}

/// Whether a manifest is a container image that zstart may look into, before its config is read.
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

/// Whether an index may be looked into.
pub fn require_index(index: &ImageIndex) -> Result<(), Refusal> {
    if let Some(member) = index.artifact_member() {
        return Err(Refusal::Artifact { member });
    }
    require_at_most(ENTRIES_MAX, "entries", index.entries.len())?;
    let annotations = index.annotations().unwrap_or_default();
    if annotations.contains_key(zstart_core::keys::SOURCE_DIGEST) { Err(Refusal::IsVariant) } else { Ok(()) }
}

fn require_at_most(most: usize, what: &'static str, count: usize) -> Result<(), Refusal> {
    if count > most { Err(Refusal::TooMany { what, count, most }) } else { Ok(()) }
}

/// Whether an entry of an index is to be converted, before its manifest is read. `None`: yes.
pub fn keep_entry(entry: &IndexEntry, selection: &PlatformSelection) -> Option<KeepReason> {
    if media_type::is_index(entry.descriptor.media_type()) {
        return Some(KeepReason::Refused(Refusal::NestedIndex));
    }
    match &entry.platform {
        // Then its config says, as it does for container runtimes.
        None if entry.attested_digest.is_none() => None,
        None => Some(KeepReason::NoPlatform),
        Some(platform) if platform.os == "unknown" || platform.architecture == "unknown" => {
            Some(KeepReason::NoPlatform)
        }
        Some(platform) if platform.os == "windows" => Some(KeepReason::Refused(Refusal::Windows)),
        Some(platform) if !selection.contains(platform) => Some(KeepReason::NotSelected),
        Some(_) => None,
    }
}

/// Drops the attestations of what is converted: they speak of digests that the new index doesn't have.
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

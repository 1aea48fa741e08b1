//! Result of a comparison.

use std::fmt;

use serde::Serialize;

use crate::compression::Compression;
use crate::digest::Digest;
use crate::reader::Side;

/// Result of a comparison of two images.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Digest of the source's manifest or index.
    pub source_digest: Digest,
    /// Digest of the variant's manifest or index.
    pub variant_digest: Digest,
    /// Converted images that were compared.
    pub platforms: Vec<PlatformReport>,
    /// Other entries of the source's index.
    pub entries: Vec<EntryReport>,
    /// All differences. Empty if the images are equal.
    pub differences: Vec<Difference>,
}

/// One converted image.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlatformReport {
    /// Platform as `os/architecture[/variant]`, from the index or else the config.
    pub platform: String,
    /// Digest of the source's manifest.
    pub source_digest: Digest,
    /// Digest of the variant's manifest.
    pub variant_digest: Digest,
    /// Digest of the source's config.
    pub config_digest: Digest,
    /// Layers, lowest first.
    pub layers: Vec<LayerReport>,
}

/// One layer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerReport {
    /// The source's layer.
    pub source: LayerSide,
    /// The variant's layer.
    pub variant: LayerSide,
    /// Digest of the uncompressed bytes in the config.
    pub diff_id: String,
    /// Whether both layers unpack to the bytes that the config names, and are described correctly.
    pub equal: bool,
}

/// One layer in one image.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerSide {
    /// Digest of the compressed bytes.
    pub digest: Digest,
    /// Number of compressed bytes, from the descriptor.
    pub bytes: u64,
    /// Compression, from the first bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// Digest of the uncompressed bytes. `None` if the layer can't be decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plain_digest: Option<Digest>,
    /// Number of uncompressed bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plain_bytes: Option<u64>,
}

/// Entry of the source's index that isn't compared layer by layer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryReport {
    /// Platform of the entry, if it names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Digest of the source's entry.
    pub digest: Digest,
    /// Fate of the entry.
    pub outcome: EntryOutcome,
}

/// Fate of an entry that isn't compared layer by layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum EntryOutcome {
    /// The variant's index has the entry unchanged.
    Unchanged,
    /// The entry attests an image that was converted, and the variant's index leaves it out.
    Dropped,
    /// The entry was converted, and its platform isn't selected for the comparison.
    NotSelected,
    /// The variant's index lacks the entry.
    Missing,
}

/// A difference between source and variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Kind of difference.
    pub kind: DifferenceKind,
    /// Platform of the image. `None` if the difference is in the index or in the only manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Number of the layer, from 1, the lowest. `None` if the difference isn't in a layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<usize>,
    /// Explanation, with the digests.
    pub message: String,
}

/// Kind of difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DifferenceKind {
    /// The variant was made from another digest, or names none.
    SourceDigest,
    /// One image is an index, the other a manifest.
    Kind,
    /// The index lacks an entry, or has another one or another order.
    Entries,
    /// A member or annotation isn't carried over.
    Member,
    /// A media type isn't OCI's, or contradicts the content.
    MediaType,
    /// The config differs.
    Config,
    /// Numbers of layers, `diff_ids` or history entries differ.
    LayerCount,
    /// A layer unpacks to other bytes.
    PlainDigest,
    /// Content of the source is damaged.
    SourceContent,
    /// Content of the variant is damaged.
    VariantContent,
}

impl DifferenceKind {
    pub(crate) fn content(side: Side) -> Self {
        match side {
            Side::Source => Self::SourceContent,
            Side::Variant => Self::VariantContent,
        }
    }
}

impl Report {
    /// Equality of all that was compared: the variant unpacks to the source's bytes.
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.platform, self.layer) {
            (Some(platform), Some(layer)) => write!(formatter, "{platform}, layer {layer}: ")?,
            (Some(platform), None) => write!(formatter, "{platform}: ")?,
            (None, Some(layer)) => write!(formatter, "layer {layer}: ")?,
            (None, None) => {}
        }
        formatter.write_str(&self.message)
    }
}

//! Refusals: images that zstart leaves alone, and why.

use std::fmt;

use zstart_core::{Digest, Platform};

/// Reason to leave an image alone. The text completes "IMAGE is left alone: …" in conditions and on the
/// command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The document has an `artifactType` or a `subject`.
    Artifact {
        /// Name of the member.
        member: &'static str,
    },
    /// The config isn't an image config: a Helm chart, a WASM module, a signature.
    NotAnImage {
        /// The config's media type.
        media_type: String,
    },
    /// A layer is stored elsewhere and must not be pushed.
    ForeignLayer {
        /// The layer.
        digest: Digest,
    },
    /// A layer is encrypted.
    EncryptedLayer {
        /// The layer.
        digest: Digest,
    },
    /// A layer has a media type that zstart doesn't know.
    UnknownLayer {
        /// The layer.
        digest: Digest,
        /// The layer's media type.
        media_type: String,
    },
    /// The manifest and the config differ in the number of layers.
    LayerCount {
        /// Number of layers in the manifest.
        layers: usize,
        /// Number of layers in the config.
        diff_ids: usize,
    },
    /// The digest of a layer, or of its uncompressed bytes, is not SHA-256.
    UnsupportedDigest {
        /// The digest.
        digest: Digest,
    },
    /// A manifest or config is missing or violates the specification.
    Unreadable {
        /// The error's text.
        reason: String,
    },
    /// The image has a SOCI index. With it, nodes start the image before the pull is complete, but from gzip
    /// layers only.
    Soci {
        /// The index's digest.
        index: String,
    },
    /// The image is for Windows, where zstd layers are untested.
    Windows,
    /// The config names no platform, or one that can't be written as text and parsed again.
    NoPlatform,
    /// The image has none of the selected platforms.
    NoSuchPlatform {
        /// Platforms of the image.
        found: Vec<Platform>,
    },
    /// An index is an entry of another index.
    NestedIndex,
    /// A manifest or index lists more than any real image.
    TooMany {
        /// Name of the listed items, in the plural.
        items: &'static str,
        /// Number of listed items.
        count: usize,
        /// Limit of the number.
        max: usize,
    },
    /// The image is a variant made by zstart.
    IsVariant,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Artifact { member } => {
                write!(formatter, "the member {member:?} marks an artifact, not an image")
            }
            Self::NotAnImage { media_type } => {
                write!(formatter, "the config is {media_type:?}, not that of a container image")
            }
            Self::ForeignLayer { digest } => {
                write!(formatter, "layer {digest} is foreign and must not be distributed with the image")
            }
            Self::EncryptedLayer { digest } => write!(formatter, "layer {digest} is encrypted"),
            Self::UnknownLayer { digest, media_type } => {
                write!(formatter, "layer {digest} has the unknown media type {media_type:?}")
            }
            Self::LayerCount { layers, diff_ids } => {
                write!(formatter, "the manifest has {layers} layers, but the config names {diff_ids}")
            }
            Self::UnsupportedDigest { digest } => {
                write!(
                    formatter,
                    "{digest} is not a SHA-256 digest, the only kind that container runtimes compare"
                )
            }
            Self::Unreadable { reason } => formatter.write_str(reason),
            Self::Soci { index } => {
                write!(formatter, "the image has the SOCI index {index}, which works with gzip layers only")
            }
            Self::Windows => formatter.write_str("the image is for Windows, where zstd layers are untested"),
            Self::NoPlatform => formatter.write_str(
                "the config names no valid operating system and architecture, such as linux and arm/v7",
            ),
            Self::NoSuchPlatform { found } if found.is_empty() => {
                formatter.write_str("the index has no platform that can be converted")
            }
            Self::NoSuchPlatform { found } => {
                let found: Vec<String> = found.iter().map(ToString::to_string).collect();
                write!(formatter, "the image has none of the selected platforms, only {}", found.join(", "))
            }
            Self::NestedIndex => formatter.write_str("the index is nested in another index"),
            Self::TooMany { items, count, max } => {
                write!(formatter, "{count} {items} exceed the limit of {max}")
            }
            Self::IsVariant => formatter.write_str("the image is already a variant made by zstart"),
        }
    }
}

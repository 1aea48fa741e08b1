//! What is done to one layer's bytes: the seam for every way to make zstd of a layer.

use std::io::{self, BufRead, Write};

use thiserror::Error;
use zstart_core::Digest;

pub mod compression;
mod context_pool;
mod counting;
mod decode_loop;
mod diff_id;
mod encoder_thread;
mod gzip;
mod jobs;
mod level;
mod limits;
#[cfg(test)]
mod tests;
mod zstd_converter;
pub mod zstd_frames;

pub use self::zstd_converter::ZstdConverter;
pub use diff_id::DiffIdHasher;
pub use jobs::{JOB, layer_weight};
pub use level::{Level, LevelError};
pub use limits::UnpackLimits;

/// Turns a layer's bytes into other bytes that unpack to the same files.
///
/// It runs on a thread of its own, reads and writes as the two sides allow, and knows nothing of
/// registries, manifests or hashes of compressed bytes.
pub trait LayerConverter: Send + Sync {
    /// What decides the result besides the source, as a variant's annotation carries it. The same
    /// source and settings give the same bytes.
    fn settings(&self) -> String;

    /// Gives up what it holds for the next layer and another one's work has better use for.
    fn release_idle_memory(&self) {}

    /// Reads `source` to its end and writes the converted layer to `target`; nothing, where the
    /// layer stays as it is. A layer that unpacks to more than was limits is
    /// [`LayerError::TooLarge`].
    fn convert(
        &self,
        source: &mut dyn BufRead,
        target: &mut (dyn Write + Send),
        limits: LayerLimits,
    ) -> Result<Converted, LayerError>;
}

/// What is known of a layer before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerLimits {
    /// Its compressed size in bytes, by its descriptor.
    pub compressed_size: u64,
    /// How many bytes it may unpack to, by [`UnpackLimits`](crate::UnpackLimits).
    pub max_uncompressed: u64,
}

/// What a conversion found out about a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// The digest of the uncompressed bytes, whether they were encoded rewritten or not.
    pub diff_id: Digest,
    /// Whether a new layer was written. Else the layer stays as it is.
    pub rewritten: bool,
}

/// Why a layer can't be converted.
#[derive(Debug, Error)]
pub enum LayerError {
    /// The gzip stream is damaged, cut short, or its checksum is wrong.
    #[error("the gzip stream is damaged at or before byte {offset} of the compressed layer")]
    Gzip {
        /// How many compressed bytes had been read.
        offset: u64,
        /// What the decoder said.
        #[source]
        source: io::Error,
    },
    /// Behind the last gzip member there is something else.
    #[error("unknown bytes follow the gzip stream at byte {offset} of the compressed layer")]
    TrailingGarbage {
        /// Where they start.
        offset: u64,
    },
    /// The zstd frames are damaged, cut short, or ask for more memory than decoders must have.
    #[error("the zstd frames can't be decoded at or before byte {offset} of the compressed layer")]
    Zstd {
        /// How many compressed bytes had been read.
        offset: u64,
        /// What the decoder said.
        #[source]
        source: io::Error,
    },
    /// It unpacks to more than any honest layer: a bomb, or next to nothing but zeros.
    #[error(
        "it unpacks to more than {max_uncompressed} bytes, which is more than is believed of a layer of its size"
    )]
    TooLarge {
        /// How many bytes it may unpack to, by [`UnpackLimits`](crate::UnpackLimits).
        max_uncompressed: u64,
    },
    /// The compressed bytes don't hash to the layer's digest, or there are more or fewer of them
    /// than its descriptor says.
    #[error(
        "the repository served {found_size} bytes with digest {found}, but the manifest asks for {expected_size}"
    )]
    Digest {
        /// The digest of what came.
        found: Digest,
        /// How many bytes came.
        found_size: u64,
        /// How many the descriptor names.
        expected_size: u64,
    },
    /// The source stopped in the middle.
    #[error("the source broke off")]
    Read {
        /// What the repository said.
        #[source]
        source: io::Error,
    },
    /// The encoder or the target failed.
    #[error("failed to write the converted layer")]
    Write {
        /// What was said.
        #[source]
        source: io::Error,
    },
}

impl LayerError {
    /// Whether the bytes themselves are at fault. Then it is worth knowing whether they were the
    /// right bytes at all.
    pub fn blames_content(&self) -> bool {
        matches!(
            self,
            Self::Gzip { .. } | Self::TrailingGarbage { .. } | Self::Zstd { .. } | Self::TooLarge { .. }
        )
    }
}

//! What is done to one layer's bytes: the seam for every way to make zstd of a layer.

use std::io::{BufRead, Write};

use zstart_core::Digest;

pub mod compression;
mod context_pool;
mod counting;
mod decode_loop;
mod diff_id;
mod encoder_thread;
mod error;
mod gzip;
mod jobs;
mod level;
mod limits;
#[cfg(test)]
mod tests;
mod zstd_converter;
pub mod zstd_frames;

pub use diff_id::DiffIdHasher;
pub use error::LayerError;
pub use jobs::{JOB_BYTES, layer_weight};
pub use level::{Level, LevelError};
pub use limits::UnpackLimits;
pub use zstd_converter::ZstdConverter;

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

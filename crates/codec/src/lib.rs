//! Converts the bytes of a container image's layer to zstd.
//!
//! [`ZstdConverter`] reads gzip, zstd or plain tar, and writes one zstd frame and the layer's `diff_id`. It
//! detects the compression, decodes, hashes the uncompressed bytes and encodes on a second thread, in one pass. By
//! [`Method`], it transcodes gzip layers instead: it keeps gzip's matches and searches no more.
//! The first bytes decide about the compression, because media types may be wrong. A zstd layer stays unchanged,
//! except on request.
//!
//! - **Deterministic.** The same source and [settings](LayerConverter::settings) give the same bytes,
//!   independent of the number of cores, the size of the reads and earlier layers.
//! - **Readable everywhere.** Frames have a window of 8 MiB at every level, as RFC 8878 recommends for every
//!   decoder, and a checksum.
//! - **Bounded.** Buffers, windows and match tables have limits, and [`UnpackLimits`] stops decompression
//!   bombs.
//! - **Strict.** Every gzip member and every zstd frame is decoded to its end. A damaged or truncated stream
//!   and trailing garbage are errors with an offset.
//!
//! The crate knows no registries, manifests or credentials. No layer is parsed as a tar archive. The
//! compressed bytes aren't hashed: the caller compares a layer with its descriptor.
//!
//! ```
//! use std::io::Write as _;
//!
//! use flate2::write::GzEncoder;
//! use zstart_codec::{LayerConverter as _, LayerLimits, Level, UnpackLimits, ZstdConverter};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::default());
//! gzip.write_all(b"files")?;
//! let gzip = gzip.finish()?;
//!
//! let compressed_size = gzip.len() as u64;
//! let max_uncompressed = UnpackLimits::default().limit_for(compressed_size);
//! let limits = LayerLimits { compressed_size, max_uncompressed };
//! let mut layer = Vec::new();
//! let converted = ZstdConverter::new(Level::default()).convert(&mut &gzip[..], &mut layer, limits)?;
//!
//! assert!(converted.rewritten);
//! assert_eq!(converted.diff_id, zstart_core::Digest::sha256_of(b"files"));
//! assert_eq!(zstd::decode_all(&layer[..])?, b"files");
//! # Ok(())
//! # }
//! ```
//!
//! [`LayerConverter`] is the extension point: implement it to convert layers with another encoder.

use std::io::{BufRead, Write};
use std::sync::Arc;

use zstart_core::Digest;

mod annotation;
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
mod method;
mod replay;
mod sample;
#[cfg(test)]
mod tests;
mod transcoded;
mod window;
mod zstd_converter;
pub mod zstd_frames;

pub use annotation::without_method;
pub use diff_id::DiffIdHasher;
pub use error::LayerError;
pub use jobs::{JOB_BYTES, layer_weight};
pub use level::{Level, LevelError};
pub use limits::UnpackLimits;
pub use method::{Method, Verification};
pub use zstd_converter::ZstdConverter;

/// Converts a layer's bytes to other bytes with the same uncompressed content.
///
/// The caller runs a conversion on a separate thread, and source and target may block. A converter knows no
/// registries, no manifests and no hashes of compressed bytes.
pub trait LayerConverter: Send + Sync {
    /// The settings that determine the result, for a variant's annotation. The same source and settings give
    /// the same bytes.
    fn settings(&self) -> String;

    /// A converter that gives the same settings another way, without the transcoder: for a layer whose transcoding
    /// failed with [`LayerError::Transcode`]. `None`: this converter never transcodes.
    fn without_transcoder(&self) -> Option<Arc<dyn LayerConverter>> {
        None
    }

    /// Releases memory cached for reuse so that a concurrent layer can use it.
    fn release_idle_memory(&self) {}

    /// Reads `source` to its end and writes the converted layer to `target`. Writes nothing if the layer
    /// stays unchanged. Above the unpack limit, this is [`LayerError::TooLarge`].
    fn convert(
        &self,
        source: &mut dyn BufRead,
        target: &mut (dyn Write + Send),
        limits: LayerLimits,
    ) -> Result<Converted, LayerError>;
}

/// A layer's compressed size and its unpack limit, both known before the layer is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerLimits {
    /// Compressed size in the layer's descriptor, in bytes.
    pub compressed_size: u64,
    /// Maximum uncompressed size in bytes, from [`UnpackLimits`].
    pub max_uncompressed: u64,
}

/// The result of a layer's conversion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// Digest of the uncompressed bytes, also for a layer that stays unchanged.
    pub diff_id: Digest,
    /// Whether a new layer was written. If not, the layer stays unchanged.
    pub rewritten: bool,
}

//! Observer of a conversion.

use zstart_core::Digest;

use zstart_codec::Level;

/// Result of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerResult {
    /// The layer was encoded.
    Converted {
        /// Compressed size of the new layer.
        bytes: u64,
    },
    /// An earlier conversion's layer was reused.
    Reused {
        /// Compressed size of the reused layer.
        bytes: u64,
    },
    /// The layer's bytes are already zstd.
    Kept,
    /// The layer was only read.
    Read,
    /// The transfer failed; the layer starts again.
    Retrying,
}

/// Observer of a conversion. The conversion's own task calls the methods, so they must not block.
pub trait Progress: Send + Sync {
    /// A layer starts, or starts again; `size` is its compressed size in bytes.
    fn started(&self, layer: &Digest, size: u64);
    /// More compressed bytes of a layer were read.
    fn advanced(&self, layer: &Digest, bytes: u64);
    /// A layer ends.
    fn finished(&self, layer: &Digest, result: LayerResult);
    /// All layers were read; the measurement of a level on pieces of them starts.
    fn measuring(&self, _level: Level) {}
}

/// Observer that ignores all events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn started(&self, _: &Digest, _: u64) {}
    fn advanced(&self, _: &Digest, _: u64) {}
    fn finished(&self, _: &Digest, _: LayerResult) {}
}

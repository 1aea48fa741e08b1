//! What a conversion tells whoever watches it.

use zstart_core::Digest;

use zstart_codec::Level;

/// How a layer was dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerResult {
    /// Encoded anew, to that many bytes.
    Converted {
        /// Compressed size of the new layer.
        bytes: u64,
    },
    /// Its conversion was there already.
    Reused {
        /// Compressed size of that layer.
        bytes: u64,
    },
    /// Its bytes are zstd already.
    Kept,
    /// It was read, and that was all.
    Read,
    /// It failed on the way and starts again.
    Retrying,
}

/// A watcher. It is called from the conversion itself and must not block.
pub trait Progress: Send + Sync {
    /// A layer begins, or begins again; `size` is its compressed size in bytes.
    fn started(&self, layer: &Digest, size: u64);
    /// That many more compressed bytes were read.
    fn advanced(&self, layer: &Digest, bytes: u64);
    /// A layer ends.
    fn finished(&self, layer: &Digest, result: LayerResult);
    /// All layers were read, and now a level is measured on pieces of them.
    fn measuring(&self, _level: Level) {}
}

/// A watcher that doesn't look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn started(&self, _: &Digest, _: u64) {}
    fn advanced(&self, _: &Digest, _: u64) {}
    fn finished(&self, _: &Digest, _: LayerResult) {}
}

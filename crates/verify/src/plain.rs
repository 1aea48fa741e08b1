//! Sink for a layer's uncompressed bytes: hashes them, and stores none.

use crate::digest::{Algorithm, Digest, Hasher};
use crate::fault::ContentFault;

/// Unpacked size that any layer may have: 16 GiB.
const ALWAYS_ALLOWED: u64 = 16 << 30;
/// Maximum ratio of unpacked to compressed bytes above [`ALWAYS_ALLOWED`]. Programs and text have 2 to 10.
const RATIO_MAX: u64 = 200;

/// Hashes and counts uncompressed bytes.
pub(crate) struct PlainSink {
    hasher: Hasher,
    count: u64,
    limit: u64,
}

impl PlainSink {
    /// Sink for a layer of `compressed_size` bytes. The limit bounds the time that a decompression bomb costs;
    /// memory is bounded without it.
    pub(crate) fn for_layer(compressed_size: u64) -> Self {
        Self::with_limit(compressed_size.saturating_mul(RATIO_MAX).max(ALWAYS_ALLOWED))
    }

    pub(crate) fn with_limit(limit: u64) -> Self {
        Self { hasher: Hasher::new(Algorithm::Sha256), count: 0, limit }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), ContentFault> {
        self.count += bytes.len() as u64;
        if self.count > self.limit {
            return Err(ContentFault::Unpacked { limit: self.limit });
        }
        self.hasher.update(bytes);
        Ok(())
    }

    /// Returns digest and size of all bytes.
    pub(crate) fn finish(self) -> (Digest, u64) {
        (self.hasher.finish(), self.count)
    }
}

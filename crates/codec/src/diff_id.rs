//! Hashes a layer's uncompressed bytes and counts them against the unpack limit.

use sha2::{Digest as _, Sha256};
use zstart_core::Digest;

use super::LayerError;

/// Computes a layer's `diff_id`, and fails above the unpack limit.
pub struct DiffIdHasher {
    sha256: Sha256,
    max_uncompressed: u64,
    remaining: u64,
}

impl DiffIdHasher {
    /// A hasher of at most `max_uncompressed` bytes.
    pub fn with_limit(max_uncompressed: u64) -> Self {
        Self { sha256: Sha256::new(), max_uncompressed, remaining: max_uncompressed }
    }

    /// Hashes the next bytes. Above the limit, this is [`LayerError::TooLarge`].
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        let remaining = self.remaining.checked_sub(bytes.len() as u64);
        self.remaining = remaining.ok_or(LayerError::TooLarge { max_uncompressed: self.max_uncompressed })?;
        self.sha256.update(bytes);
        Ok(())
    }

    /// Number of bytes hashed.
    pub fn count(&self) -> u64 {
        self.max_uncompressed - self.remaining
    }

    /// The `diff_id`: the digest of all hashed bytes.
    pub fn diff_id(self) -> Digest {
        Digest::from_sha256(self.sha256.finalize().into())
    }
}

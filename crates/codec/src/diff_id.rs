//! A layer's uncompressed bytes as they come: hashed, and counted against what is believed.

use sha2::{Digest as _, Sha256};
use zstart_core::Digest;

use super::LayerError;

/// The hash of what came so far, and how much more may come.
pub struct DiffIdHasher {
    sha256: Sha256,
    max_uncompressed: u64,
    remaining: u64,
}

impl DiffIdHasher {
    /// For a layer that may unpack to so many bytes.
    pub fn with_limit(max_uncompressed: u64) -> Self {
        Self { sha256: Sha256::new(), max_uncompressed, remaining: max_uncompressed }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        let remaining = self.remaining.checked_sub(bytes.len() as u64);
        self.remaining = remaining.ok_or(LayerError::TooLarge { max_uncompressed: self.max_uncompressed })?;
        self.sha256.update(bytes);
        Ok(())
    }

    /// How many bytes came.
    pub fn count(&self) -> u64 {
        self.max_uncompressed - self.remaining
    }

    /// The `diff_id` of all that came.
    pub fn diff_id(self) -> Digest {
        Digest::from_sha256(self.sha256.finalize().into())
    }
}

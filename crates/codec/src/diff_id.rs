//! A layer's uncompressed bytes as they come: hashed, and counted against what is believed.

use sha2::{Digest as _, Sha256};
use zstart_core::Digest;

use super::LayerError;

/// The hash of what came so far, and how much more may come.
pub struct DiffIdHasher {
    hash: Sha256,
    max_uncompressed: u64,
    left: u64,
}

impl DiffIdHasher {
    /// For a layer that may unpack to so many bytes.
    pub fn at_most(max_uncompressed: u64) -> Self {
        Self { hash: Sha256::new(), max_uncompressed, left: max_uncompressed }
    }

    /// Takes the next bytes.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.ok_or(LayerError::TooLarge { max_uncompressed: self.max_uncompressed })?;
        self.hash.update(bytes);
        Ok(())
    }

    /// How many bytes came.
    pub fn count(&self) -> u64 {
        self.max_uncompressed - self.left
    }

    /// The `diff_id` of all that came.
    pub fn diff_id(self) -> Digest {
        Digest::from_sha256(self.hash.finalize().into())
    }
}

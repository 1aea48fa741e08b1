//! The phases of a conversion that touch a repository.

mod again;
mod channel;
mod copy;
mod earlier;
mod execute;
mod layers;
mod places;
mod read;
mod reuse;
mod variant;

use zstart_core::{Digest, Platform};

pub use execute::{Job, Made, execute, require_unmoved};
pub(crate) use layers::LayerOutcome;
pub use layers::read_layer;
pub use read::{Resolved, digest_of, plan, platform_of, resolve};
pub use variant::{Existing, adopt, find_variant, verify};

/// A variant that stands in a repository, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariantImage {
    /// The digest of its manifest or index.
    pub digest: Digest,
    /// The settings that it was made with.
    pub settings: String,
    /// What was converted, one entry a platform, in the source's order.
    pub platforms: Vec<PlatformReport>,
}

/// One platform of a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformReport {
    /// Where it runs.
    pub platform: Platform,
    /// Sum of the source's compressed layers, in bytes.
    pub source_bytes: u64,
    /// Sum of the variant's compressed layers, in bytes.
    pub variant_bytes: u64,
    /// How many layers there are.
    pub layers: usize,
    /// How many of them are encoded anew.
    pub converted_layers: usize,
}

impl VariantImage {
    /// Sum over all platforms, in bytes.
    pub fn source_bytes(&self) -> u64 {
        self.platforms.iter().map(|platform| platform.source_bytes).sum()
    }

    /// Sum over all platforms, in bytes.
    pub fn variant_bytes(&self) -> u64 {
        self.platforms.iter().map(|platform| platform.variant_bytes).sum()
    }
}

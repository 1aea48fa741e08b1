//! A variant, as conversions report it.

use zstart_core::{Digest, Platform};

/// A complete variant in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariantImage {
    /// Digest of its manifest or index.
    pub digest: Digest,
    /// Settings of its conversion.
    pub settings: String,
    /// Converted platforms, in the source's order.
    pub platforms: Vec<PlatformReport>,
}

/// One platform of a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformReport {
    /// The platform.
    pub platform: Platform,
    /// Sum of the source's compressed layers, in bytes.
    pub source_bytes: u64,
    /// Sum of the variant's compressed layers, in bytes.
    pub variant_bytes: u64,
    /// Number of layers.
    pub layers: usize,
    /// Number of rewritten layers.
    pub converted_layers: usize,
}

impl VariantImage {
    /// Sum of the source's compressed layers over all platforms, in bytes.
    pub fn source_bytes(&self) -> u64 {
        self.platforms.iter().map(|platform| platform.source_bytes).sum()
    }

    /// Sum of the variant's compressed layers over all platforms, in bytes.
    pub fn variant_bytes(&self) -> u64 {
        self.platforms.iter().map(|platform| platform.variant_bytes).sum()
    }
}

//! Manifests, indexes, descriptors and configs, read without losing what isn't understood.

mod config;
mod descriptor;
mod json;
mod manifest;
pub mod media_type;
pub mod soci;
#[cfg(test)]
mod tests;

pub use config::{ConfigError, ImageConfig};
pub use descriptor::Descriptor;
pub use json::{JsonError, RawObject};
pub use manifest::{Document, ImageIndex, ImageManifest, IndexEntry, ManifestError, RawManifest};

/// Largest manifest that is read, in bytes (the distribution specification asks registries for 4 MiB).
pub const MANIFEST_MAX: usize = 4 << 20;
/// Largest config that is read, in bytes: real ones have some tens of KiB.
pub const CONFIG_MAX: u64 = 8 << 20;

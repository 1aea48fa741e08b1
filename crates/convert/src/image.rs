//! Manifests, indexes, descriptors and configs, read without losing what isn't understood.

mod config;
mod descriptor;
mod json;
mod manifest;
pub mod media_type;
pub(crate) mod soci;
#[cfg(test)]
mod tests;

pub use config::{ConfigError, ImageConfig};
pub use descriptor::Descriptor;
pub use json::{JsonError, RawObject};
pub use manifest::{Document, ImageIndex, ImageManifest, IndexEntry, ManifestError, RawManifest};

//! Parses and edits OCI and Docker image documents without losing unknown members.
//!
//! A converter must change a few members of a manifest and keep all others. Structs with known fields drop
//! the rest, and a generic JSON value rewrites numbers, escapes and white space. This crate keeps the bytes
//! of every value that isn't edited ([`RawObject`]), and offers typed access to the members that a conversion
//! needs.
//!
//! - [`RawManifest`] holds a document's bytes and digest. [`RawManifest::read`] parses an image manifest or
//!   an index, of OCI or Docker.
//! - [`ImageManifest::converted`] and [`ImageIndex::converted`] create the variant's documents.
//! - [`ImageConfig`] reads platform and `diff_ids`.
//! - Ambiguous documents are errors: duplicate members, `layers` next to `manifests`, and a `Content-Type`
//!   that contradicts the content (CVE-2021-41190).
//!
//! The crate does no input or output, and verifies no content that a descriptor refers to.
//!
//! ```
//! use zstart_oci::{Document, RawManifest};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let manifest = r#"{"schemaVersion": 2, "x-unknown": {"b": 1.50, "a": "\u0026"}, "layers": [], "config": {
//!     "mediaType": "application/vnd.oci.image.config.v1+json", "size": 2,
//!     "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}}"#;
//! let source = RawManifest::new(manifest.into());
//! let Document::Manifest(image) = source.read()? else { return Err("the document is an index".into()) };
//! assert_eq!(image.config.size(), 2);
//!
//! let variant = image.converted(&source.digest, "level=3", &image.layers)?;
//! let text = std::str::from_utf8(&variant.bytes)?;
//! assert!(text.contains(r#""x-unknown":{"b": 1.50, "a": "\u0026"}"#));
//! # Ok(())
//! # }
//! ```

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

/// Largest accepted manifest, in bytes. The distribution specification asks registries to accept 4 MiB.
pub const MANIFEST_MAX: usize = 4 << 20;
/// Largest accepted config, in bytes. Real configs have some tens of KiB.
pub const CONFIG_MAX: u64 = 8 << 20;

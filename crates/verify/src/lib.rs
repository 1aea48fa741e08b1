//! Proof that a variant unpacks to its source's bytes, by code that shares nothing with the converter.
//!
//! The crate reads images with oci-client or from a layout folder, decodes gzip with `miniz_oxide` and zstd
//! with `ruzstd`, and hashes with ring. zstart's converter uses its own client, zlib-rs, libzstd and `sha2`. A
//! mistake in one of these therefore can't hide itself.
//!
//! [`verify()`] compares two images:
//! - digest and size of every document and layer that is read;
//! - the uncompressed digests of both images' layers, and the config's `diff_ids`;
//! - the config byte by byte, the numbers of layers, `diff_ids` and history entries;
//! - the entries of indexes, with platform and all other members, and which of them stay or are dropped;
//! - annotations, recorded source digests, media types.
//!
//! Entries that a variant's index lists unchanged are compared by their descriptor and manifest, not layer by
//! layer: equal digests mean equal content.
//!
//! Memory is bounded: documents have 4 MiB at most, layers are hashed and not stored. The largest user is the
//! window of a zstd frame, 128 MiB at most. Time is bounded by a layer's unpacked size, 16 GiB or 200 times its
//! compressed size.

mod compression;
mod crc32;
mod digest;
mod document;
mod error;
mod fault;
mod gzip;
mod image;
mod index;
mod keys;
mod layer;
mod layout;
mod plain;
mod reader;
mod registry;
mod report;
mod retry;
mod verification;
mod zstd;

#[cfg(test)]
mod tests;

pub use compression::Compression;
pub use digest::Digest;
pub use error::VerifyError;
pub use fault::ContentFault;
pub use layout::LayoutImage;
pub use reader::{BlobStream, ImageReader, ReadError, ReadErrorKind, Side};
pub use registry::{Authorization, Endpoint, Login, RegistryImage, Selector};
pub use report::{
    Difference, DifferenceKind, EntryOutcome, EntryReport, LayerReport, LayerSide, PlatformReport, Report,
};
pub use verification::{Images, verify};

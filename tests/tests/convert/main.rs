//! The conversion engine against a real registry, and against one that misbehaves.

mod access;
mod content;
mod conversion;
mod error_responses;
mod existing_variants;
mod hostile;
mod indexes;
mod interruption;
mod layer_reuse;
mod login;
mod manifests;
mod redirects;
mod small_blobs;
mod soci;
mod unchanged_entries;

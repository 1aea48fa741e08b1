//! The conversion engine against a real registry, and against one that misbehaves.

mod access;
mod answers;
mod content;
mod conversion;
mod hostile;
mod indexes;
mod interruption;
mod kept;
mod layers_again;
mod login;
mod manifests;
mod redirects;
mod reuse;
mod small_blobs;
mod soci;

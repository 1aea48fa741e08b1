//! Where images are: registries and OCI image layout folders.

pub mod credentials;
mod jitter;
mod layout;
mod repository;
mod store;

pub use jitter::jittered;
pub use layout::LayoutFolder;
#[cfg(fuzzing)]
pub use repository::challenge_of;
pub use repository::{ClientError, Limits, RegistryClient, RegistryOptions};
pub use store::{Access, BlobUpload, ByteStream, ManifestKey, Repository, RepositoryError, Trouble};

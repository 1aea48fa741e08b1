//! The conversion engine: container images with gzip or plain layers in, the same images with zstd
//! layers out, proven to hold the same files.
//!
//! A conversion goes through named phases, each a function that can be called on its own:
//!
//! 1. [`resolve`]: what does the reference mean now?
//! 2. [`plan()`]: which manifests and layers are converted, kept, dropped or refused? The decision is
//!    pure ([`plan::Plan`]); only reading the manifests touches the repository.
//! 3. [`find_variant`]: does a variant made of this very source stand in the target already?
//! 4. [`execute`]: layers, then manifests, then the index, then the tag.
//! 5. [`verify`]: read back what the tag says.
//!
//! Two seams carry everything else: a [`Repository`] is where bytes come from and go to (a registry
//! or an OCI layout folder), a [`LayerConverter`] is what is done to one layer's bytes.
//!
//! Bytes are streamed: no layer is ever held whole, in memory or on disk.

pub mod engine;
mod error;
mod keyed_semaphore;
mod layer_cache;
pub mod plan;
pub mod progress;
mod settings;

pub use engine::{Job, VariantImage, execute, find_variant, plan, resolve, verify};
pub use error::{Error, ErrorClass};
pub use keyed_semaphore::KeyedSemaphore;
pub use layer_cache::{LayerCache, LayerCacheError};
pub use plan::{Plan, Refusal};
pub use progress::Progress;
pub use settings::{PlatformSelection, Settings};
pub use zstart_codec::{Level, LevelError, UnpackLimits};

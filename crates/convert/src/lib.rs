//! The conversion engine. It reads container images with gzip or uncompressed layers, writes images with
//! zstd layers, and proves that both have the same files: the uncompressed bytes of every layer are hashed
//! and compared with the config's `diff_ids`.
//!
//! A conversion has named phases. Each is a function that can be called on its own:
//!
//! 1. [`resolve`] reads the manifest or index that a reference names now.
//! 2. [`plan()`] decides which manifests and layers are converted, kept, dropped or refused. The decision is
//!    pure ([`plan::Plan`]); only reading the manifests needs the repository.
//! 3. [`find_variants`] searches the variants of this source, and [`find_variant`] looks at a tag that a user
//!    chose.
//! 4. [`execute`] pushes the layers, then the manifests, then the index, then the tag.
//! 5. [`verify_pushed`] reads the tag back.
//!
//! Two traits can have other implementations: a [`Store`](zstart_registry::Store) reads and writes the bytes (a registry's
//! repository or an OCI layout folder), and a [`LayerConverter`](zstart_codec::LayerConverter) converts the
//! bytes of one layer.
//!
//! Bytes are streamed: no layer is ever whole in memory or on disk.
//!
//! `examples/convert.rs` is a complete program.

mod blob_io;
mod concurrency;
mod converted_layer;
mod copy;
mod ensure_layer;
mod error;
mod execute;
mod job;
mod keyed_semaphore;
mod layer_cache;
mod layer_context;
mod pipeline;
pub mod plan;
mod planner;
mod presence;
mod prior_variants;
pub mod progress;
mod publish;
mod resolve;
mod retry;
mod reuse;
mod search;
mod settings;
mod variant;
mod variant_image;
mod verify;

pub use ensure_layer::read_layer;
pub use error::{DiffIdMismatch, Error, ErrorClass};
pub use execute::{Execution, ensure_source_unchanged, execute};
pub use job::Job;
pub use keyed_semaphore::KeyedSemaphore;
pub use layer_cache::{LayerCache, LayerCacheError};
pub use plan::{Plan, Refusal};
pub use planner::{plan, platform_of};
pub use progress::Progress;
pub use publish::{VariantTagging, adopt};
pub use resolve::{Resolved, resolve, resolve_digest};
pub use search::{AcceptedSettings, FoundVariants, NamedVariant, VariantSearch, find_variants};
pub use settings::{PlatformSelection, Settings, TagChildren};
pub use variant::{Existing, find_variant};
pub use variant_image::{PlatformReport, VariantImage};
pub use verify::{prove_pushed, verify, verify_pushed};
pub use zstart_codec::{Level, LevelError, Method, UnpackLimits, Verification};

//! What every part of zstart agrees on: references, digests, variant names, the
//! [`ImageConversion`](record::ImageConversion) record, label and annotation keys, and the pure
//! rules that say when a pod may run a variant.
//!
//! Nothing here talks to a registry or an API server, and nothing here needs an async runtime, so
//! that the rules zstart is judged by can be read and tested on their own.

mod chain;
pub mod digest;
pub mod ecr;
pub mod eligibility;
pub mod keys;
mod originals;
pub mod platform;
pub mod pod_images;
pub mod record;
pub mod reference;
pub mod sync;
pub mod units;
pub mod variant;

pub use chain::chain;
pub use digest::Digest;
pub use originals::originals;
pub use platform::Platform;
pub use record::ImageConversion;
pub use reference::{Reference, Tag};

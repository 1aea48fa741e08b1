//! Definitions that all parts of zstart share: references, digests, variant names, the
//! [`ImageConversion`] record, the [`FreshnessSweep`], the [`OwnerHold`], label and annotation keys, and the
//! pure rules for when a pod may run a variant.
//!
//! The crate contacts no registry and no API server and needs no async runtime, so the rules can be read
//! and tested on their own.

mod chain;
pub mod digest;
pub mod eligibility;
pub mod glob;
pub mod keys;
mod originals;
pub mod owner_hold;
pub mod platform;
pub mod pod_images;
pub mod pull_failure;
pub mod pulled;
pub mod record;
pub mod reference;
mod schema;
pub mod sweep;
pub mod sync;
pub mod units;
pub mod variant;

pub use chain::chain;
pub use digest::Digest;
pub use glob::Glob;
pub use originals::{is_variant_of, originals, recorded_original};
pub use owner_hold::OwnerHold;
pub use platform::Platform;
pub use pulled::Pulled;
pub use record::ImageConversion;
pub use reference::{Reference, Tag};
pub use sweep::FreshnessSweep;
pub use variant::VariantNames;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

/// Definitions of zstart's own kinds, in the order in which the chart installs them.
pub fn custom_resources() -> [CustomResourceDefinition; 3] {
    [ImageConversion::crd(), OwnerHold::crd(), FreshnessSweep::crd()]
}

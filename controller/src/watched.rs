//! Watched objects, reduced to the members that the controller reads.
//!
//! Watches read 50,000 pods and more, of up to 20 KiB each. Serde's derived implementations skip an unknown
//! member by [`IgnoredAny`](serde::de::IgnoredAny), for which `serde_json` scans the text and allocates nothing.
//! Members with text that the controller only compares or hashes are skipped or hashed in the same way.
//!
//! A reduced object turns into the type of `k8s-openapi`, with the other members empty, so the rules in
//! `zstart-core` apply to watched objects and to the webhook's.

mod metadata;
mod pod;
mod pod_spec;
mod pulled_event;
mod workload;

pub(crate) use metadata::deserialize as deserialize_metadata;
pub use pod::{UNFINISHED_PODS, WatchedPod};
pub use pulled_event::{PULLED_EVENTS, WatchedPulledEvent};
pub use workload::{TemplateOwner, WatchedWorkload};

/// Objects in one page of a list. A page is in memory as text and as objects.
pub const PAGE_SIZE: u32 = 100;

//! Decisions about the images of a pod.
//!
//! [`snapshot`] holds what is known of the cluster, [`config`] the settings. [`decision`] is pure: pod,
//! snapshot and settings in, one decision per image out. [`patch`] is pure too, and makes a JSON Patch of the
//! decisions. The webhook takes the decisions at admission; `zstart explain` takes the same ones later.

pub mod config;
pub mod decision;
#[cfg(any(test, feature = "fixture"))]
pub mod fixture;
pub mod patch;
pub mod snapshot;

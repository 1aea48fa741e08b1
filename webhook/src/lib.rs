//! Admission server that rewrites new pods to their zstd variants and never blocks a pod.
//!
//! A review passes through `server` (rustls), `handler` (admits every review), [`rewrite`] (pure: pod
//! and [`snapshot`] in, one decision per image out) and [`patch`] (pure: JSON Patch). No request goes to a
//! registry or to the API server while a pod waits.

pub mod config;
#[cfg(test)]
mod fixture;
mod handler;
mod health;
mod metrics;
pub mod patch;
pub mod review;
pub mod rewrite;
pub mod run;
mod server;
pub mod snapshot;
mod tls;

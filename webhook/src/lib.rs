//! Admission server that rewrites new pods to their zstd variants and never blocks a pod.
//!
//! A review passes through `server` (rustls) and `handler`, which admits every review and takes its decisions
//! from `zstart-admission`. No request goes to a registry or to the API server while a pod waits.

#[cfg(test)]
mod fixture;
mod handler;
mod health;
mod metrics;
pub mod review;
pub mod run;
mod server;
mod tls;

//! The admission server: points new pods at their zstd variants, and never stands in their way.
//!
//! A review goes from [`server`] (rustls) to [`handler`] (which can't fail), to [`rewrite`] (pure:
//! pod and [`snapshot`] in, one decision per image out) and [`patch`] (pure: JSON Patch). Nothing
//! is asked of a registry or of the API server while a pod waits.

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

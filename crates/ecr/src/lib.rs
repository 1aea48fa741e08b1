//! Credentials for Amazon ECR: finds the AWS identity of this process and requests registry tokens with it.
//! With the same identity, asks whether a repository's tags can move.
//!
//! This crate is separate because the AWS SDK is as large as the rest of the build.

mod error;
mod identity;
mod mutability;
mod proxy;
mod service;
mod session;
mod token_provider;

pub use error::SetupError;
pub use identity::EcrIdentity;

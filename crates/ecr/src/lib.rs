//! Credentials for Amazon ECR: finds the AWS identity of this process and requests registry tokens with it.
//!
//! This crate is separate because the AWS SDK is as large as the rest of the build.

mod error;
mod identity;
mod proxy;
mod service;
mod token_provider;

pub use error::SetupError;
pub use identity::EcrIdentity;

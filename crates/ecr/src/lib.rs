//! Who zstart is to Amazon ECR: the identity that AWS gives a process, and the tokens that it gets.
//!
//! A crate of its own, because the AWS SDK is as large as everything else together.

mod error;
mod identity;
mod service;
mod token_provider;

pub use error::SetupError;
pub use identity::EcrIdentity;

//! Credentials, and the tokens that registries exchange them for.

mod challenge;
mod credentials;
mod docker_config;
mod helper;
mod provider;
mod token;

#[cfg(fuzzing)]
pub use challenge::fuzz_challenge;
pub use credentials::{Credentials, Password};
pub use docker_config::{CredentialsError, DockerConfig};
pub use provider::{CredentialProvider, ExpiringCredentials, ProviderError, SharedProvider};
pub(crate) use token::{Authorization, Grant, log_in};

//! Credentials, and the tokens that registries exchange them for.

mod authorization;
mod challenge;
mod credentials;
mod credentials_error;
mod docker_config;
mod helper;
mod identity_token;
mod password;
mod provider;
mod token;

pub use authorization::{Authorization, BearerToken, PullAuthorization};
#[cfg(fuzzing)]
pub use challenge::fuzz_challenge;
pub use credentials::Credentials;
pub use credentials_error::CredentialsError;
pub use docker_config::DockerConfig;
pub use identity_token::IdentityToken;
pub use password::Password;
pub use provider::{CredentialProvider, ExpiringCredentials, ProviderError, SharedProvider};
pub(crate) use token::{Grant, Login};

//! Credentials, and the tokens that registries exchange them for.

mod auth_files;
mod authorization;
mod challenge;
mod challenge_parser;
mod credentials;
mod credentials_error;
mod docker_config;
mod entry;
mod fingerprint;
mod glob;
mod helper;
mod helper_process;
mod identity_token;
mod login;
mod members;
mod one_login;
mod password;
mod ping;
mod provider;
mod redirect_login;
mod registry_key;
mod scope;
mod token_cache;
mod token_response;
mod token_server;

pub use auth_files::{AuthFileLocations, AuthFiles};
pub use authorization::{Authorization, BearerToken, PullAuthorization};
#[cfg(fuzzing)]
pub use challenge::fuzz_challenge;
pub use credentials::Credentials;
pub use credentials_error::{CredentialsError, CredentialsFileError, EntryProblem, HelperError};
pub use docker_config::DockerConfig;
pub use fingerprint::Fingerprint;
pub use identity_token::IdentityToken;
pub(crate) use login::{Login, LoginPlan};
pub use password::Password;
pub use provider::{CredentialProvider, ExpiringCredentials, ProviderError, SharedProvider};
pub(crate) use redirect_login::RedirectLogins;
pub(crate) use token_cache::{Refusal, TokenCache};

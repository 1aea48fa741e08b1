//! Requests to Amazon ECR and to ECR Public: `GetAuthorizationToken`, `DescribeRepositories`.

use std::time::{Duration, SystemTime};

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_smithy_http_client::pool;
use aws_smithy_types::DateTime;
use aws_smithy_types::timeout::TimeoutConfig;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zstart_registry::auth::{Password, ProviderError};
use zstart_registry::ecr::EcrEndpoint;

use crate::error;
use crate::mutability::TagMutability;
use crate::session::{self, PrivateRepository};

/// Only region where ECR Public issues tokens.
const PUBLIC_REGION: &str = "us-east-1";
/// Timeout of a token request, including the SDK's three attempts.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);
/// Shortest time that a token is used, because the local clock may be wrong.
const MIN_TTL: Duration = Duration::from_mins(1);
/// Lifetime of a token, according to the documentation of `GetAuthorizationToken`.
const MAX_TTL: Duration = Duration::from_hours(12);

/// Timeout of a request about a repository. The answer saves requests and is no condition for any.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Service that issues tokens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Service {
    Private(EcrEndpoint),
    Public,
}

/// Token, decoded to a user name and a password.
pub(crate) struct Token {
    pub(crate) password: Password,
    pub(crate) ttl: Duration,
}

/// Name of the operation in errors.
const GET_TOKEN: &str = "GetAuthorizationToken";

/// Token as the API returns it, and its expiry.
type EncodedToken = (Option<String>, Option<DateTime>);

impl Service {
    /// Requests a new token. Returns `None` if this process has no identity and the service serves
    /// anonymous reads.
    pub(crate) async fn token(&self, http: &pool::Client) -> Result<Option<Token>, ProviderError> {
        let Some(config) = self.config_with_identity(http).await? else { return Ok(None) };
        let (token, expires) = match self {
            Self::Private(endpoint) => private_token(&config, endpoint).await?,
            Self::Public => public_token(&config).await?,
        };
        let password = token.as_deref().and_then(decode).ok_or_else(error::unreadable_token)?;
        Ok(Some(Token { password, ttl: ttl(expires) }))
    }

    /// Configuration with this process's identity. Returns `None` if there is none and the service serves
    /// anonymous reads.
    async fn config_with_identity(&self, http: &pool::Client) -> Result<Option<SdkConfig>, ProviderError> {
        let config = self.config(http).await;
        let provider = config.credentials_provider().ok_or_else(error::missing_identity)?;
        // The chain is queried here and not by the service client for two reasons: a missing identity and a
        // denied one get different errors, and each token is requested with credentials that are valid now.
        let credentials = match provider.provide_credentials().await {
            Ok(credentials) => credentials,
            Err(error) if error::is_missing(&error) && *self == Self::Public => return Ok(None),
            Err(error) => return Err(error::identity_error(&error)),
        };
        tracing::debug!(service = ?self, identity = ?credentials.access_key_id(), "sending a request to ECR");
        let config = config.into_builder();
        Ok(Some(config.credentials_provider(SharedCredentialsProvider::new(credentials)).build()))
    }

    async fn config(&self, http: &pool::Client) -> SdkConfig {
        let region = match self {
            Self::Private(EcrEndpoint { region, .. }) => region.clone(),
            Self::Public => PUBLIC_REGION.to_owned(),
        };
        // Region where roles are assumed: the process's own, or the registry's by default. (The SDK's default
        // region chain would also query the instance, with an HTTP client that this build doesn't have.)
        let region = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
            .or_else(ProfileFileRegionProvider::new())
            .or_else(Region::new(region));
        let limit = TimeoutConfig::builder().operation_timeout(TOKEN_TIMEOUT).build();
        let config = aws_config::defaults(BehaviorVersion::latest());
        config.http_client(http.clone()).region(region).timeout_config(limit).load().await
    }
}

fn private_config(config: &SdkConfig, endpoint: &EcrEndpoint) -> aws_sdk_ecr::config::Builder {
    let EcrEndpoint { region, fips, dual_stack } = endpoint;
    aws_sdk_ecr::config::Builder::from(config)
        .region(Region::new(region.clone()))
        .use_fips(*fips)
        .use_dual_stack(*dual_stack)
}

/// Requests a token of a session of `role`, whose policy allows one repository.
pub(crate) async fn repository_token(
    repository: &PrivateRepository<'_>,
    role: &str,
    http: &pool::Client,
) -> Result<Password, ProviderError> {
    let service = Service::Private(repository.endpoint.clone());
    let config = service.config_with_identity(http).await?.ok_or_else(error::missing_identity)?;
    let config = session::assume(config, role, repository).await?;
    let (token, _) = private_token(&config, repository.endpoint).await?;
    token.as_deref().and_then(decode).ok_or_else(error::unreadable_token)
}

/// Asks whether the tags of a private registry's repository can move.
pub(crate) async fn tag_mutability(
    account: &str,
    endpoint: &EcrEndpoint,
    repository: &str,
    http: &pool::Client,
) -> Result<TagMutability, ProviderError> {
    let service = Service::Private(endpoint.clone());
    let config = service.config_with_identity(http).await?.ok_or_else(error::missing_identity)?;
    let timeout = TimeoutConfig::builder().operation_timeout(DESCRIBE_TIMEOUT).build();
    let config = private_config(&config, endpoint).timeout_config(timeout);
    let client = aws_sdk_ecr::Client::from_conf(config.build());
    let request = client.describe_repositories().registry_id(account).repository_names(repository);
    let failed = |error| error::service_error("DescribeRepositories", "ecr:DescribeRepositories", &error);
    let response = request.send().await.map_err(failed)?;
    Ok(response.repositories().first().map_or(TagMutability::MUTABLE, TagMutability::of))
}

async fn private_token(config: &SdkConfig, endpoint: &EcrEndpoint) -> Result<EncodedToken, ProviderError> {
    let client = aws_sdk_ecr::Client::from_conf(private_config(config, endpoint).build());
    let response = client.get_authorization_token().send().await;
    let failed = |error| error::service_error(GET_TOKEN, "ecr:GetAuthorizationToken", &error);
    let response = response.map_err(failed)?;
    let first = response.authorization_data.unwrap_or_default().into_iter().next();
    Ok(first.map_or((None, None), |data| (data.authorization_token, data.expires_at)))
}

async fn public_token(config: &SdkConfig) -> Result<EncodedToken, ProviderError> {
    let config = aws_sdk_ecrpublic::config::Builder::from(config).region(Region::from_static(PUBLIC_REGION));
    let client = aws_sdk_ecrpublic::Client::from_conf(config.build());
    let response = client.get_authorization_token().send().await;
    let actions = "ecr-public:GetAuthorizationToken and sts:GetServiceBearerToken";
    let response = response.map_err(|error| error::service_error(GET_TOKEN, actions, &error))?;
    Ok(response.authorization_data.map_or((None, None), |data| (data.authorization_token, data.expires_at)))
}

/// Decodes base64 of `AWS:password`.
fn decode(token: &str) -> Option<Password> {
    let text = String::from_utf8(STANDARD.decode(token).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    Some(Password { username: username.to_owned(), password: password.to_owned() })
}

/// Time until expiry, limited to [`MIN_TTL`] and [`MAX_TTL`].
fn ttl(expires: Option<DateTime>) -> Duration {
    let left = expires.and_then(|expires| {
        let expires = SystemTime::try_from(expires).ok()?;
        expires.duration_since(SystemTime::now()).ok()
    });
    left.unwrap_or(MIN_TTL).clamp(MIN_TTL, MAX_TTL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_decodes_to_username_and_password() {
        let password = decode(&STANDARD.encode("AWS:eyJ:with:colons")).unwrap();
        assert_eq!((&*password.username, &*password.password), ("AWS", "eyJ:with:colons"));
        for token in ["", "!", &STANDARD.encode("AWS"), &STANDARD.encode([0xff, b':'])] {
            assert!(decode(token).is_none(), "{token}");
        }
    }

    #[test]
    fn token_ttl_is_between_1_minute_and_12_hours() {
        let from_now = |seconds| ttl(Some(DateTime::from(SystemTime::now() + Duration::from_secs(seconds))));
        assert_eq!(ttl(None), MIN_TTL);
        assert_eq!(ttl(Some(DateTime::from_secs(0))), MIN_TTL);
        assert_eq!(from_now(1 << 30), MAX_TTL);
        assert!(from_now(3600) > Duration::from_mins(59));
    }
}

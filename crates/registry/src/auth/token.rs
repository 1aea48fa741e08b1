//! Logging in: which login the registry wants, and the token or password for it.
//!
//! oci-client (0.18) takes a registry's 503 for "no login needed" and a token server's for "wrong password",
//! reads responses without a limit, and sends passwords to any realm. Hence zstart's own login.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use super::authorization::{Authorization, BearerToken};
use super::challenge::{self, Challenge};
use super::credentials::Credentials;
use super::password::Password;
use super::provider::{ExpiringCredentials, SharedProvider};
use crate::error::{LoginError, RequestError};
use crate::http::{error_of, read_bounded};
use crate::operation::Access;
use crate::request::Request;
use crate::transport::Transport;

/// Largest response of a token server that is read, in bytes. Real ones have some KiB.
const TOKEN_RESPONSE_MAX: usize = 256 * 1024;
/// Life of a token whose server names none (distribution, "Token Authentication Specification",
/// `expires_in`).
const DEFAULT_TTL: Duration = Duration::from_mins(1);
/// Longest use of an authorization before the registry is asked for its login again.
const MAX_TTL: Duration = Duration::from_hours(1);

/// An authorization, and how long it may be used.
pub(crate) struct Grant {
    pub(crate) authorization: Authorization,
    pub(crate) ttl: Duration,
    /// Whether it was issued just now: then a refusal means that it lacks the right.
    pub(crate) is_new: bool,
}

/// A token server's response.
#[derive(Deserialize)]
struct TokenResponse {
    token: Option<String>,
    /// OAuth's name for `token`.
    access_token: Option<String>,
    /// In seconds.
    expires_in: Option<u64>,
}

/// A login at a registry, for one repository.
pub(crate) struct Login<'a> {
    pub(crate) transport: &'a Transport,
    /// The repository's name inside the registry.
    pub(crate) repository: &'a str,
    /// Another repository that the token may read too.
    pub(crate) mount_source: Option<&'a str>,
    pub(crate) credentials: &'a Credentials,
}

impl Login<'_> {
    /// Asks the registry which login it wants, and logs in. `refused` is an authorization that must not be
    /// returned.
    pub(crate) async fn log_in(
        &self,
        access: Access,
        refused: Option<&Authorization>,
    ) -> Result<Grant, LoginError> {
        let url = self.transport.endpoint().base()?.clone();
        let response = self.transport.send_anonymous(Request::read(Method::GET, url), None).await?;
        match response.status() {
            StatusCode::UNAUTHORIZED => {}
            status if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => {
                return Err(error_of(response, self.response_timeout()).await.into());
            }
            // Any other status appears again in the requests that matter.
            _ => return self.password_grant(refused).await,
        }
        let challenge =
            challenge::parse(response.headers()).map_err(|problem| LoginError::Challenge { problem })?;
        match challenge {
            Challenge::Basic if matches!(self.credentials, Credentials::IdentityToken(_)) => {
                // Docker and containerd have nothing to send here either: a refresh token is for its
                // authorization server alone (distribution, "OAuth2 Token Authentication").
                Err(LoginError::PasswordNeeded)
            }
            Challenge::None | Challenge::Basic => self.password_grant(refused).await,
            Challenge::Bearer { realm, service } => self.token_grant(access, realm, service).await,
        }
    }

    /// The password, which goes with every request.
    async fn password_grant(&self, refused: Option<&Authorization>) -> Result<Grant, LoginError> {
        let refused = match refused {
            Some(Authorization::Basic(password)) => Some(password),
            Some(Authorization::Bearer(_) | Authorization::Anonymous) | None => None,
        };
        let Some(current) = current_password(self.credentials, refused).await? else {
            return Ok(Grant { authorization: Authorization::Anonymous, ttl: MAX_TTL, is_new: true });
        };
        let ExpiringCredentials { password, expires_at, is_new } = current;
        let ttl = expires_at.saturating_duration_since(Instant::now()).min(MAX_TTL);
        Ok(Grant { authorization: Authorization::Basic(password), ttl, is_new })
    }

    async fn token_grant(
        &self,
        access: Access,
        realm: Url,
        service: Option<String>,
    ) -> Result<Grant, LoginError> {
        let password = current_password(self.credentials, None).await?.map(|current| current.password);
        let identity_token = match self.credentials {
            Credentials::IdentityToken(token) => Some(token),
            Credentials::Anonymous | Credentials::Basic(_) | Credentials::Provider(_) => None,
        };
        let has_secret = password.is_some() || identity_token.is_some();
        check_token_server(self.transport, &realm, has_secret).map_err(|problem| {
            let host = realm.host_str().unwrap_or_default().to_owned();
            LoginError::TokenServer { host, problem }
        })?;
        let scopes = self.scopes(access);
        let request = match identity_token {
            Some(token) => token.exchange(realm, service.as_deref(), &scopes),
            None => token_request(realm, service.as_deref(), &scopes),
        };
        let response = self.transport.send_anonymous(request, password.as_ref()).await?;
        if response.status() != StatusCode::OK {
            return Err(LoginError::Token(error_of(response, self.response_timeout()).await));
        }
        let unusable = |problem| LoginError::TokenBody { problem };
        let bytes = read_bounded(response, TOKEN_RESPONSE_MAX, self.response_timeout()).await?;
        let response: TokenResponse =
            serde_json::from_slice(&bytes).map_err(|_| unusable("is not what the specification says"))?;
        let token = response.token.or(response.access_token).filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| unusable("has no token"))?;
        let ttl = response.expires_in.map_or(DEFAULT_TTL, Duration::from_secs).clamp(DEFAULT_TTL, MAX_TTL);
        // Renewed after three quarters of its life: a request may need time to arrive.
        Ok(Grant {
            authorization: Authorization::Bearer(BearerToken::new(token)),
            ttl: ttl / 4 * 3,
            is_new: true,
        })
    }

    /// Rights that the token needs (distribution, "Docker Registry Token Scope and Access").
    fn scopes(&self, access: Access) -> Vec<String> {
        let actions = match access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        let own = format!("repository:{}:{actions}", self.repository);
        let mounted = self.mount_source.map(|other| format!("repository:{other}:pull"));
        std::iter::once(own).chain(mounted).collect()
    }

    fn response_timeout(&self) -> Duration {
        self.transport.options().timeouts.response
    }
}

/// Asks for a token (distribution, "Token Authentication Specification"). A password goes into the request's
/// header.
fn token_request(mut realm: Url, service: Option<&str>, scopes: &[String]) -> Request {
    let mut query = realm.query_pairs_mut();
    if let Some(service) = service {
        query.append_pair("service", service);
    }
    for scope in scopes {
        query.append_pair("scope", scope);
    }
    drop(query);
    Request::read(Method::GET, realm)
}

/// The current password, or `None` without one.
async fn current_password(
    credentials: &Credentials,
    refused: Option<&Password>,
) -> Result<Option<ExpiringCredentials>, LoginError> {
    match credentials {
        Credentials::Anonymous | Credentials::IdentityToken(_) => Ok(None),
        Credentials::Basic(password) => {
            let (password, expires_at) = (password.clone(), Instant::now() + MAX_TTL);
            Ok(Some(ExpiringCredentials { password, expires_at, is_new: true }))
        }
        Credentials::Provider(SharedProvider(provider)) => Ok(provider.credentials(refused).await?),
    }
}

/// Checks that a token server may receive the login: its connection is as safe as the registry's own, and a
/// password or an identity token stays in the registry's own domain or goes to a listed server. The error
/// says why not.
fn check_token_server(transport: &Transport, realm: &Url, has_secret: bool) -> Result<(), &'static str> {
    let endpoint = transport.endpoint();
    let is_safe = realm.scheme() == "https" || (realm.scheme() == "http" && endpoint.is_plain_http());
    if !is_safe {
        return Err("which is not https");
    }
    if !realm.username().is_empty() || realm.password().is_some() {
        return Err("with a user name in the address");
    }
    let is_listed =
        |host: &str| transport.options().token_servers.iter().any(|listed| listed.eq_ignore_ascii_case(host));
    let is_known =
        realm.host_str().is_some_and(|host| is_same_domain(endpoint.host(), host) || is_listed(host));
    if has_secret && !is_known {
        Err("which is neither in the registry's own domain nor a listed token server")
    } else {
        Ok(())
    }
}

/// Whether two hosts are equal or belong to one registrable domain (`auth.docker.io` and
/// `registry-1.docker.io`). An IP address equals itself only.
fn is_same_domain(one: &str, other: &str) -> bool {
    if one.eq_ignore_ascii_case(other) {
        return true;
    }
    let is_address = |host: &str| host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    if is_address(one) || is_address(other) {
        return false;
    }
    let (one, other) = (one.to_ascii_lowercase(), other.to_ascii_lowercase());
    match (psl::domain(one.as_bytes()), psl::domain(other.as_bytes())) {
        // An unregistered suffix (`registry.lab`) says nothing about owners.
        (Some(one), Some(other)) => one.suffix().is_known() && one == other,
        _ => false,
    }
}

impl From<LoginError> for RequestError {
    fn from(error: LoginError) -> Self {
        Self::Login(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_stays_in_the_registrys_own_domain() {
        for (registry, realm) in [
            ("registry-1.docker.io", "auth.docker.io"),
            ("ghcr.io", "ghcr.io"),
            ("registry.gitlab.com", "gitlab.com"),
            ("registry.example.co.uk", "LOGIN.example.co.uk"),
            ("localhost", "localhost"),
            ("10.0.0.1", "10.0.0.1"),
        ] {
            assert!(is_same_domain(registry, realm), "{registry} {realm}");
        }
        for (registry, realm) in [
            ("registry.example.com", "example.org"),
            ("registry.example.co.uk", "evil.co.uk"),
            ("one.github.io", "other.github.io"),
            ("registry.lab", "evil.lab"),
            ("a.lab", "b.a.lab"),
            ("10.0.0.1", "10.0.0.2"),
            ("10.0.0.1", "0.0.1"),
            ("registry.example.com", "169.254.169.254"),
        ] {
            assert!(!is_same_domain(registry, realm), "{registry} {realm}");
        }
    }

    #[test]
    fn https_registry_gets_no_token_over_http() {
        let check = |plain: &str, realm: &str, has_password| {
            let transport = Transport::for_tests("registry.example", plain);
            check_token_server(&transport, &realm.parse().unwrap(), has_password)
        };
        let (safe, plain) = ("https://auth.registry.example/token", "http://registry.example/token");
        for has_password in [false, true] {
            for realm in [plain, "HTTP://registry.example:443/token", "ftp://registry.example/token"] {
                assert_eq!(check("", realm, has_password), Err("which is not https"), "{realm}");
            }
            assert_eq!(check("registry.example", plain, has_password), Ok(()));
        }
        assert_eq!(check("", safe, false), Ok(()));
        assert_eq!(check("", "https://registry.example/token", true), Ok(()));
    }
}

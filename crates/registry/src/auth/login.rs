//! Logging in: which login the registry wants, and the token or password for it.
//!
//! oci-client (0.18) takes a registry's 503 for "no login needed" and a token server's for "wrong password",
//! reads responses without a limit, and sends passwords to any realm. Hence zstart's own login.

use std::time::{Duration, Instant};

use reqwest::{Response, StatusCode, Url};

use super::authorization::Authorization;
use super::challenge::{self, BearerChallenge, Challenges};
use super::credentials::Credentials;
use super::password::Password;
use super::ping::{Ping, ping};
use super::provider::{ExpiringCredentials, SharedProvider};
use super::scope;
use super::token_response::{DEFAULT_TTL, MAX_TTL};
use super::token_server::{self, AllowedHosts};
use crate::error::LoginError;
use crate::operation::Access;
use crate::transport::Transport;

/// An authorization, and how long it may be used.
pub(crate) struct Grant {
    pub(crate) authorization: Authorization,
    pub(crate) ttl: Duration,
    /// Whether it was issued just now: then a refusal means that it lacks the right.
    pub(crate) is_new: bool,
}

impl Grant {
    /// A password that doesn't expire, or none.
    fn lasting(password: Option<&Password>) -> Self {
        let authorization = password.cloned().map_or(Authorization::Anonymous, Authorization::Basic);
        Self { authorization, ttl: MAX_TTL, is_new: true }
    }
}

/// The login that a registry wants. Two equal ones lead to equal rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LoginPlan {
    /// The registry didn't say. The next refusal may.
    Unknown,
    /// None. A password goes with each request all the same.
    Open,
    /// A user name and a password with each request.
    Basic,
    /// A token.
    Token {
        /// Address of the token server, which passed the check.
        realm: Url,
        /// Name of the registry at the token server.
        service: Option<String>,
        /// Rights of the token.
        scopes: Vec<String>,
    },
}

/// The registry's answer to the question which login it wants.
pub(crate) enum Discovery {
    Plan(LoginPlan),
    /// An error that doesn't decide while requests work.
    Unknown(LoginError),
}

/// A login at a registry, for one repository.
pub(crate) struct Login<'a> {
    pub(crate) transport: &'a Transport,
    /// The repository's name inside the registry.
    pub(crate) repository: &'a str,
    /// Another repository that the token may read too.
    pub(crate) mount_source: Option<&'a str>,
    pub(crate) credentials: &'a Credentials,
    pub(crate) access: Access,
}

impl Login<'_> {
    /// Asks the registry which login it wants.
    pub(crate) async fn discover(&self) -> Result<Discovery, LoginError> {
        let (mut challenges, is_redirected) = match ping(self.transport).await? {
            Ping::Challenges { challenges, is_redirected } => (challenges, is_redirected),
            Ping::Unknown(error) => return Ok(Discovery::Unknown(error.into())),
        };
        // The scope here is no request's: GHCR's is the placeholder `repository:user/image:pull`.
        for bearer in &mut challenges.bearers {
            bearer.scopes.clear();
        }
        if is_redirected {
            // Another origin's demand counts only if it names the registry itself, or a token server that a
            // user listed. Its own port may belong to another user of the host.
            challenges.has_basic = false;
            challenges.problem = None;
            let (endpoint, allowed) = (self.transport.endpoint(), self.allowed_hosts());
            let registry = endpoint.base()?;
            challenges.bearers.retain(|BearerChallenge { realm, .. }| {
                let is_named = allowed == AllowedHosts::Any
                    || endpoint.is_same_origin(realm)
                    || token_server::is_listed(self.transport, realm.host_str().unwrap_or_default());
                is_named && token_server::check(self.transport, registry, realm, allowed).is_ok()
            });
        }
        Ok(Discovery::Plan(self.plan(challenges)?))
    }

    /// The login that a refused request's challenge asks for, or `None` if it asks for nothing usable.
    /// `tried` is the login of the request.
    pub(crate) fn plan_after_refusal(
        &self,
        tried: &LoginPlan,
        response: &Response,
    ) -> Result<Option<LoginPlan>, LoginError> {
        let mut challenges = challenge::parse(response.url(), response.headers());
        if challenges == Challenges::default() {
            return Ok(None);
        }
        if *self.credentials != Credentials::Anonymous
            && let LoginPlan::Token { service: Some(known), .. } = tried
        {
            // A token for another service is one for another registry of the token server.
            challenges.bearers.iter_mut().for_each(|bearer| bearer.service = Some(known.clone()));
        }
        match self.plan(challenges) {
            Ok(plan) => Ok(Some(plan)),
            Err(error)
                if response.status() == StatusCode::UNAUTHORIZED
                    && matches!(tried, LoginPlan::Open | LoginPlan::Unknown) =>
            {
                Err(error)
            }
            // After a login, and without a demand for one (401), the refusal itself says more.
            Err(error) => {
                tracing::debug!(error = zstart_core::chain(&error), "refusal asks for an unusable login");
                Ok(None)
            }
        }
    }

    /// Chooses a login: the first token that may be fetched, since it has fewer rights than a password; without
    /// one, a password.
    fn plan(&self, challenges: Challenges) -> Result<LoginPlan, LoginError> {
        let (registry, allowed) = (self.transport.endpoint().base()?, self.allowed_hosts());
        let refused = match token_server::first_allowed(self.transport, registry, challenges.bearers, allowed)
        {
            Ok(Some(bearer)) => {
                let scopes =
                    scope::for_repository(self.access, self.repository, self.mount_source, &bearer.scopes);
                return Ok(LoginPlan::Token { realm: bearer.realm, service: bearer.service, scopes });
            }
            Ok(None) => None,
            Err(error) => Some(error),
        };
        let has_password = match self.credentials {
            Credentials::Basic(_) | Credentials::Provider(_) => true,
            Credentials::IdentityToken(token) => token.password().is_some(),
            Credentials::Anonymous => false,
        };
        match (refused, challenges.problem) {
            (_, _) if challenges.has_basic && has_password => Ok(LoginPlan::Basic),
            (Some(refused), _) => Err(refused),
            // Docker and containerd have nothing to send here either: a refresh token is for its authorization
            // server alone (distribution, `spec/auth/oauth.md`).
            (None, _) if challenges.has_basic && *self.credentials != Credentials::Anonymous => {
                Err(LoginError::PasswordNeeded)
            }
            (None, _) if challenges.has_basic => Ok(LoginPlan::Basic),
            (None, Some(problem)) => Err(LoginError::Challenge { problem }),
            (None, None) => Ok(LoginPlan::Open),
        }
    }

    fn allowed_hosts(&self) -> AllowedHosts {
        match self.credentials {
            Credentials::Anonymous => AllowedHosts::Any,
            Credentials::Basic(_) | Credentials::IdentityToken(_) | Credentials::Provider(_) => {
                AllowedHosts::OwnAndListed
            }
        }
    }

    /// Logs in. `refused` is an authorization that must not be returned.
    pub(crate) async fn log_in(
        &self,
        plan: &LoginPlan,
        refused: Option<&Authorization>,
    ) -> Result<Grant, LoginError> {
        match plan {
            LoginPlan::Unknown => {
                let grant = self.password_grant(refused).await?;
                Ok(Grant { ttl: grant.ttl.min(DEFAULT_TTL), is_new: false, ..grant })
            }
            LoginPlan::Basic => match self.credentials {
                Credentials::IdentityToken(token) => Ok(Grant::lasting(token.password())),
                Credentials::Anonymous | Credentials::Basic(_) | Credentials::Provider(_) => {
                    self.password_grant(refused).await
                }
            },
            LoginPlan::Open => self.password_grant(refused).await,
            LoginPlan::Token { realm, service, scopes } => {
                self.token_grant(realm.clone(), service.as_deref(), scopes).await
            }
        }
    }

    /// The password, which goes with every request.
    async fn password_grant(&self, refused: Option<&Authorization>) -> Result<Grant, LoginError> {
        let refused = match refused {
            Some(Authorization::Basic(password)) => Some(password),
            Some(Authorization::Bearer(_) | Authorization::Anonymous) | None => None,
        };
        let Some(current) = current_password(self.credentials, refused).await? else {
            return Ok(Grant::lasting(None));
        };
        let ExpiringCredentials { password, expires_at, is_new } = current;
        let ttl = expires_at.saturating_duration_since(Instant::now()).min(MAX_TTL);
        Ok(Grant { authorization: Authorization::Basic(password), ttl, is_new })
    }

    async fn token_grant(
        &self,
        realm: Url,
        service: Option<&str>,
        scopes: &[String],
    ) -> Result<Grant, LoginError> {
        let password = current_password(self.credentials, None).await?;
        let authorization =
            password.map_or(Authorization::Anonymous, |current| Authorization::Basic(current.password));
        let request = match self.credentials {
            Credentials::IdentityToken(token) => token.exchange(realm, service, scopes),
            Credentials::Anonymous | Credentials::Basic(_) | Credentials::Provider(_) => {
                token_server::token_request(realm, service, scopes)
            }
        };
        let issued = token_server::exchange(self.transport, request, &authorization).await?;
        let ttl = issued.time_of_use();
        Ok(Grant { authorization: Authorization::Bearer(issued.token), ttl, is_new: true })
    }
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

//! Proof of identity that requests carry.

use std::fmt;
use std::time::Instant;

use reqwest::RequestBuilder;

use super::password::Password;

/// Proof of identity that a request carries. Its debug form shows no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorization {
    /// None.
    Anonymous,
    /// A user name and a password.
    Basic(Password),
    /// A token.
    Bearer(BearerToken),
}

impl Authorization {
    /// Adds the `Authorization` header.
    pub(crate) fn authorize(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Anonymous => request,
            Self::Basic(Password { username, password }) => request.basic_auth(username, Some(password)),
            Self::Bearer(token) => request.bearer_auth(token.as_str()),
        }
    }
}

/// A token server's token. Its debug form shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken(String);

impl BearerToken {
    pub(crate) fn new(token: String) -> Self {
        Self(token)
    }

    /// The token as the `Authorization` header holds it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("BearerToken").finish_non_exhaustive()
    }
}

/// An authorization with which a registry has just let a manifest be read.
#[derive(Clone, Debug)]
pub struct PullAuthorization {
    /// The registry as it is reached (`host` or `host:port`): Docker Hub's own host instead of `docker.io`. No
    /// other host may receive the authorization.
    pub host: String,
    /// Whether the registry is reached over plain http.
    pub is_plain_http: bool,
    /// Authorization that requests carry.
    pub authorization: Authorization,
    /// Time to ask for another one.
    pub expires_at: Instant,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_form_shows_no_token() {
        let authorization = Authorization::Bearer(BearerToken::new("hush".to_owned()));
        let printed = format!("{authorization:?} {authorization:#?}");
        assert!(printed.contains("Bearer") && !printed.contains("hush"), "{printed}");
    }
}

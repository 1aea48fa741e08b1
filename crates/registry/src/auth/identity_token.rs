//! A token of a user's login that a token server exchanges for others (OAuth's refresh token).

use std::fmt;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Url};

use super::password::Password;
use crate::request::Request;

/// Name of the client in the exchange.
const CLIENT_ID: &str = "zstart";
/// Media type of the exchange's parameters.
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// A token in place of a user name and a password, as `az acr login` stores one. A token server exchanges it
/// for tokens of single repositories. Its debug form shows no secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdentityToken {
    token: String,
    /// The entry's password. Docker and podman send it to a registry that wants `Basic`.
    password: Option<Password>,
}

impl IdentityToken {
    /// A token as a Docker config (`identitytoken`) or a credential helper (user `<token>`) holds it.
    pub fn new(token: impl Into<String>) -> Self {
        Self { token: token.into(), password: None }
    }

    /// Adds the password for a registry that takes no token.
    pub(super) fn with_password(self, password: Password) -> Self {
        Self { password: Some(password), ..self }
    }

    /// The token.
    pub(super) fn secret(&self) -> &str {
        &self.token
    }

    /// The password for a registry that takes no token.
    pub(super) fn password(&self) -> Option<&Password> {
        self.password.as_ref()
    }

    /// The exchange (distribution, `spec/auth/oauth.md`). The specification joins scopes by spaces
    /// and wants the parameters in the body, where no server's log shows them.
    pub(super) fn exchange(&self, realm: Url, service: Option<&str>, scopes: &[String]) -> Request {
        // The form's encoding is that of a query (URL standard, "application/x-www-form-urlencoded").
        let mut form = realm.clone();
        form.query_pairs_mut()
            .clear()
            .append_pair("grant_type", "refresh_token")
            .append_pair("service", service.unwrap_or_default())
            .append_pair("client_id", CLIENT_ID)
            .append_pair("scope", &scopes.join(" "))
            .append_pair("refresh_token", &self.token);
        let body = Bytes::copy_from_slice(form.query().unwrap_or_default().as_bytes());
        Request::read(Method::POST, realm).header(CONTENT_TYPE, FORM).body(body)
    }
}

impl fmt::Debug for IdentityToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("IdentityToken").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchange_has_the_parameters_of_the_specification_in_its_body() {
        let scopes = ["repository:app:pull,push".to_owned(), "repository:base:pull".to_owned()];
        let realm: Url = "https://auth.example/token?realm=own".parse().unwrap();
        let mut exchange = IdentityToken::new("a b&c=+é").exchange(realm, Some("lab"), &scopes);
        assert_eq!(exchange.method, Method::POST);
        assert_eq!(exchange.url.as_str(), "https://auth.example/token?realm=own");
        let _ = rustls::crypto::ring::default_provider().install_default();
        let request = exchange.build(&reqwest::Client::new()).build().unwrap();
        assert_eq!(request.headers()[CONTENT_TYPE], "application/x-www-form-urlencoded");
        let body = request.body().and_then(reqwest::Body::as_bytes).unwrap();
        assert_eq!(
            String::from_utf8_lossy(body),
            "grant_type=refresh_token&service=lab&client_id=zstart\
             &scope=repository%3Aapp%3Apull%2Cpush+repository%3Abase%3Apull&refresh_token=a+b%26c%3D%2B%C3%A9"
        );
    }
}

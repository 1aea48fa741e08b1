//! Logins at registries to which the registry redirects its readers, as lscr.io does to ghcr.io.
//!
//! Such a login is anonymous, and its token goes to the origin that asked for it. The registry's own
//! credentials and tokens never leave the registry.

use std::sync::Mutex;

use reqwest::{Response, StatusCode, Url};
use tokio::time::Instant;
use zstart_core::sync::lock;

use super::authorization::{Authorization, BearerToken};
use super::challenge::{self, BearerChallenge};
use super::scope;
use super::token_server::{self, AllowedHosts};
use crate::error::{LoginError, RequestError};
use crate::request::Request;
use crate::transport::Transport;

/// Highest number of origins whose tokens are kept.
const ORIGINS_MAX: usize = 8;

/// Anonymous tokens of other origins.
#[derive(Default)]
pub(crate) struct RedirectLogins {
    tokens: Mutex<Vec<RedirectToken>>,
    /// One request at a time logs in; concurrent ones wait and share the result.
    turn: tokio::sync::Mutex<()>,
}

struct RedirectToken {
    /// Address of the request for which the token was issued; its origin counts.
    url: Url,
    token: BearerToken,
    expires_at: Instant,
}

impl RedirectLogins {
    /// Sends a request that reads from another origin than the registry's. A 401 that offers a token leads to
    /// one login; a storage that denies access, or asks for a password or for a login at a foreign token server,
    /// gets none.
    pub(crate) async fn send(
        &self,
        transport: &Transport,
        mut request: Request,
    ) -> Result<Response, RequestError> {
        let mut authorization = self.authorization(&request.url);
        let mut is_shared = false;
        loop {
            let response = transport.send(&mut request, &authorization).await?;
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
            let _turn = self.turn.lock().await;
            let renewed = self.authorization(&request.url);
            if renewed != authorization && renewed != Authorization::Anonymous && !is_shared {
                // Another request's token, which may be one for another repository.
                (authorization, is_shared) = (renewed, true);
                continue;
            }
            let Some(offer) = token_offer(transport, &response) else { return Ok(response) };
            let login = log_in(transport, &request.url, offer).await.map_err(|source| {
                let host = request.url.host_str().unwrap_or_default().to_owned();
                LoginError::Redirect { host, source: Box::new(source) }
            })?;
            authorization = Authorization::Bearer(login.token.clone());
            self.keep(login);
            break;
        }
        transport.send(&mut request, &authorization).await
    }

    fn authorization(&self, url: &Url) -> Authorization {
        self.token_for(url).map_or(Authorization::Anonymous, Authorization::Bearer)
    }

    fn token_for(&self, url: &Url) -> Option<BearerToken> {
        let tokens = lock(&self.tokens);
        let token = tokens
            .iter()
            .find(|token| token.url.origin() == url.origin() && Instant::now() < token.expires_at);
        token.map(|token| token.token.clone())
    }

    fn keep(&self, token: RedirectToken) {
        let mut tokens = lock(&self.tokens);
        tokens.retain(|old| old.url.origin() != token.url.origin());
        if tokens.len() == ORIGINS_MAX {
            tokens.remove(0);
        }
        tokens.push(token);
    }
}

/// The token that a refusal offers, if its token server may receive a login.
fn token_offer(transport: &Transport, response: &Response) -> Option<BearerChallenge> {
    let offers = challenge::parse(response.url(), response.headers()).bearers;
    let offer = token_server::first_allowed(transport, response.url(), offers, AllowedHosts::OwnAndListed);
    offer.unwrap_or_else(|error| {
        let host = response.url().host_str();
        tracing::warn!(host, error = zstart_core::chain(&error), "redirect's target gets no login");
        None
    })
}

async fn log_in(
    transport: &Transport,
    url: &Url,
    offer: BearerChallenge,
) -> Result<RedirectToken, LoginError> {
    let mut scopes = scope::for_reading(&offer.scopes);
    if scopes.is_empty() {
        scopes.extend(repository_of(url).map(|name| format!("repository:{name}:pull")));
    }
    let started = Instant::now();
    let request = token_server::token_request(offer.realm, offer.service.as_deref(), &scopes);
    let issued = token_server::exchange(transport, request, &Authorization::Anonymous).await?;
    let expires_at = started + issued.time_of_use();
    Ok(RedirectToken { url: url.clone(), token: issued.token, expires_at })
}

/// The repository that a path of the API names.
fn repository_of(url: &Url) -> Option<&str> {
    let path = url.path().strip_prefix("/v2/")?;
    let end =
        ["/manifests/", "/blobs/", "/tags/", "/referrers/"].into_iter().find_map(|part| path.rfind(part))?;
    Some(&path[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirected_path_names_the_repository() {
        for (url, expected) in [
            ("https://ghcr.io/v2/linuxserver/radarr/manifests/latest", Some("linuxserver/radarr")),
            ("https://ghcr.io/v2/a/blobs/b/blobs/sha256:00?x=1", Some("a/blobs/b")),
            ("https://storage.example/bucket/blobs/sha256:00", None),
            ("https://ghcr.io/v2/", None),
        ] {
            assert_eq!(repository_of(&url.parse().unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn tokens_are_kept_by_origin_and_until_they_expire() {
        let logins = RedirectLogins::default();
        let token = |host: &str, text: &str, ttl| RedirectToken {
            url: format!("https://{host}/v2/a/manifests/1").parse().unwrap(),
            token: BearerToken::new(text.to_owned()),
            expires_at: Instant::now() + ttl,
        };
        let minute = std::time::Duration::from_mins(1);
        logins.keep(token("one.example", "first", minute));
        logins.keep(token("one.example", "second", minute));
        logins.keep(token("expired.example", "old", std::time::Duration::ZERO));
        let found = |url: &str| logins.token_for(&url.parse().unwrap());
        assert_eq!(found("https://one.example/other"), Some(BearerToken::new("second".to_owned())));
        for url in [
            "https://one.example:444/",
            "http://one.example/",
            "https://two.example/",
            "https://expired.example/",
        ] {
            assert_eq!(found(url), None, "{url}");
        }
        for number in 0..ORIGINS_MAX {
            logins.keep(token(&format!("host-{number}.example"), "new", minute));
        }
        assert_eq!(found("https://one.example/"), None);
        assert_eq!(lock(&logins.tokens).len(), ORIGINS_MAX);
    }
}

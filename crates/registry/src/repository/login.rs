//! The right to read or write a repository: what the registry asks for, and how it is got.
//!
//! Our own, because oci-client (0.18) takes a registry's 503 for "no login needed" and a token server's
//! for "wrong password", bounds no answer, and sends passwords wherever a challenge points.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use super::answer;
use super::challenge::{self, Challenge};
use super::network::Direction;
use super::session::{Authorization, Session};
use crate::credentials::{Credentials, IssuedPassword, Issuer, Password};
use crate::{Access, RepositoryError, Trouble};

const OPERATION: &str = "log in";
/// Largest answer of a token server that is read. Real ones have some KiB.
const TOKEN_MAX: usize = 256 * 1024;
/// How long a token lives that doesn't say so (distribution, "Token Authentication Specification",
/// `expires_in`).
const TOKEN_LIFE: Duration = Duration::from_mins(1);
/// The longest time for which a proof is used before the registry is asked anew.
const LONGEST: Duration = Duration::from_hours(1);

/// A proof, and how long it may be used.
pub(super) struct Granted {
    pub(super) authorization: Authorization,
    pub(super) life: Duration,
    /// Whether it was made just now: then a refusal means that it has no right.
    pub(super) is_new: bool,
}

/// A token server's answer.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    /// The same, as OAuth names it.
    access_token: Option<String>,
    /// In seconds.
    expires_in: Option<u64>,
}

/// Asks the registry what it wants, and gets it.
pub(super) async fn log_in(
    session: &Session,
    access: Access,
    refused: Option<&Authorization>,
) -> Result<Granted, RepositoryError> {
    let url = session.base_url(access)?;
    let request = session.request(access, OPERATION, Direction::Read, Method::GET, &url).await?;
    let sent = request.send().await;
    let response = sent.map_err(|error| answer::from_request(session, access, OPERATION, error))?;
    match response.status() {
        StatusCode::UNAUTHORIZED => {}
        status if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => {
            return Err(answer::from_response(session, access, OPERATION, response).await);
        }
        // Whatever else it says here, requests that matter will say so too.
        _ => return with_password(session, access, refused).await,
    }
    let challenge = challenge::read(response.headers()).map_err(|reason| {
        let message = format!("the registry's WWW-Authenticate can't be read: {reason}");
        session.error(access, OPERATION, Trouble::Other, message)
    })?;
    match challenge {
        Challenge::None | Challenge::Basic => with_password(session, access, refused).await,
        Challenge::Bearer { realm, service } => fetch_token(session, access, realm, service).await,
    }
}

/// The password goes with every request.
async fn with_password(
    session: &Session,
    access: Access,
    refused: Option<&Authorization>,
) -> Result<Granted, RepositoryError> {
    let refused = match refused {
        Some(Authorization::Basic(password)) => Some(password),
        Some(Authorization::Bearer(_) | Authorization::None) | None => None,
    };
    let Some(issued) = password(session, access, refused).await? else {
        return Ok(Granted { authorization: Authorization::None, life: LONGEST, is_new: true });
    };
    let IssuedPassword { password, until, is_new } = issued;
    let life = until.saturating_duration_since(Instant::now()).min(LONGEST);
    Ok(Granted { authorization: Authorization::Basic(password), life, is_new })
}

/// The password of now; `None` for nobody in particular.
async fn password(
    session: &Session,
    access: Access,
    refused: Option<&Password>,
) -> Result<Option<IssuedPassword>, RepositoryError> {
    match session.credentials() {
        Credentials::Anonymous => Ok(None),
        Credentials::Basic(password) => {
            let password = password.clone();
            Ok(Some(IssuedPassword { password, until: Instant::now() + LONGEST, is_new: true }))
        }
        Credentials::Issued(Issuer(source)) => {
            let issued = source.password(refused).await;
            issued.map_err(|error| session.error(access, OPERATION, error.trouble, error.message))
        }
    }
}

async fn fetch_token(
    session: &Session,
    access: Access,
    mut realm: Url,
    service: Option<String>,
) -> Result<Granted, RepositoryError> {
    let password = password(session, access, None).await?.map(|issued| issued.password);
    if let Err(reason) = may_be_asked(session, &realm, password.is_some()) {
        let host = realm.host_str().unwrap_or_default();
        let message = format!("the registry sends logins to {host}, {reason}: nothing was sent there");
        return Err(session.error(access, OPERATION, Trouble::Other, message));
    }
    let actions = match access {
        Access::Pull => "pull",
        Access::Push => "pull,push",
    };
    {
        let mut query = realm.query_pairs_mut();
        if let Some(service) = &service {
            query.append_pair("service", service);
        }
        query.append_pair("scope", &format!("repository:{}:{actions}", session.repository()));
        if let Some(other) = session.also_reads() {
            query.append_pair("scope", &format!("repository:{other}:pull"));
        }
    }
    let request = session.request(access, OPERATION, Direction::Read, Method::GET, &realm).await?;
    let request = match password {
        None => request,
        Some(Password { username, password }) => request.basic_auth(username, Some(password)),
    };
    let sent = request.send().await;
    let response = sent.map_err(|error| answer::from_request(session, access, OPERATION, error))?;
    if response.status() != StatusCode::OK {
        let mut error = answer::from_response(session, access, OPERATION, response).await;
        error.message = format!("the token server answered {}", error.message);
        // It isn't the image that is missing.
        if error.trouble == Trouble::NotFound {
            error.trouble = Trouble::Other;
        }
        return Err(error);
    }
    let unreadable = |message: &str| session.error(access, OPERATION, Trouble::Other, message);
    let bytes = answer::read_bounded(session, access, OPERATION, response, TOKEN_MAX).await?;
    let answer: TokenAnswer = serde_json::from_slice(&bytes)
        .map_err(|_| unreadable("the token server's answer is not what the specification says"))?;
    let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| unreadable("the token server's answer has no token in it"))?;
    let life = answer.expires_in.map_or(TOKEN_LIFE, Duration::from_secs).clamp(TOKEN_LIFE, LONGEST);
    // A quarter early: a request may take its time to arrive.
    Ok(Granted { authorization: Authorization::Bearer(token), life: life / 4 * 3, is_new: true })
}

/// Whether a token server may get what it would get: its connection must be as safe as the
/// registry's own, and a password leaves only for the registry's own domain. The error says why not.
fn may_be_asked(session: &Session, realm: &Url, is_secret: bool) -> Result<(), &'static str> {
    let is_safe = realm.scheme() == "https" || (realm.scheme() == "http" && session.is_plain_http());
    if !is_safe {
        return Err("which is not https");
    }
    if !realm.username().is_empty() || realm.password().is_some() {
        return Err("with a user name in the address");
    }
    let own = session.host();
    let is_known =
        realm.host_str().is_some_and(|host| same_domain(&own, host) || session.is_token_server(host));
    if is_secret && !is_known {
        Err("which is not of its own domain, nor a listed token server")
    } else {
        Ok(())
    }
}

/// Whether two hosts are one, or belong to one registrable domain (`auth.docker.io` and
/// `registry-1.docker.io`). Addresses are themselves only.
fn same_domain(one: &str, other: &str) -> bool {
    if one.eq_ignore_ascii_case(other) {
        return true;
    }
    let is_address = |host: &str| host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
    if is_address(one) || is_address(other) {
        return false;
    }
    let (one, other) = (one.to_ascii_lowercase(), other.to_ascii_lowercase());
    match (psl::domain(one.as_bytes()), psl::domain(other.as_bytes())) {
        // A suffix that nobody registered as one (`registry.lab`) says nothing about who owns what.
        (Some(one), Some(other)) => one.suffix().is_known() && one == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_stays_in_the_registrys_own_domain() {
        for (registry, realm) in [
            ("registry-1.docker.io", "auth.docker.io"),
            ("ghcr.io", "ghcr.io"),
            ("registry.gitlab.com", "gitlab.com"),
            ("registry.example.co.uk", "LOGIN.example.co.uk"),
            ("localhost", "localhost"),
            ("10.0.0.1", "10.0.0.1"),
        ] {
            assert!(same_domain(registry, realm), "{registry} {realm}");
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
            assert!(!same_domain(registry, realm), "{registry} {realm}");
        }
    }
    #[test]
    fn no_token_server_is_asked_over_http_by_a_registry_that_is_reached_over_https() {
        let asked = |plain: &str, realm: &str, is_secret| {
            let session = Session::of_tests("registry.example/app:v1", plain);
            may_be_asked(&session, &realm.parse().unwrap(), is_secret)
        };
        let (safe, plain) = ("https://auth.registry.example/token", "http://registry.example/token");
        for is_secret in [false, true] {
            for realm in [plain, "HTTP://registry.example:443/token", "ftp://registry.example/token"] {
                assert_eq!(asked("", realm, is_secret), Err("which is not https"), "{realm}");
            }
            assert_eq!(asked("registry.example", plain, is_secret), Ok(()));
        }
        assert_eq!(asked("", safe, false), Ok(()));
        assert_eq!(asked("", "https://registry.example/token", true), Ok(()));
    }
}

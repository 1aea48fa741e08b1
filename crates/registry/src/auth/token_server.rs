//! Token servers: which of them may receive a login, and the exchange.

use std::net::IpAddr;

use reqwest::{Method, StatusCode, Url};

use super::authorization::Authorization;
use super::challenge::BearerChallenge;
use super::token_response::{self, IssuedToken};
use crate::error::LoginError;
use crate::http::{error_of, read_bounded};
use crate::request::Request;
use crate::transport::Transport;

/// Largest response of a token server that is read, in bytes. Real ones have some KiB.
const TOKEN_RESPONSE_MAX: usize = 256 * 1024;

/// Hosts that may be a registry's token server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AllowedHosts {
    /// Any: nothing secret is sent.
    Any,
    /// Hosts of the registry's own domain, and listed ones.
    OwnAndListed,
}

/// Checks that the token server of the registry at `registry` may receive a login: its connection is as safe
/// as the registry's own, and its host is allowed. The error says why not.
pub(super) fn check(
    transport: &Transport,
    registry: &Url,
    realm: &Url,
    allowed: AllowedHosts,
) -> Result<(), LoginError> {
    let host = realm.host_str().unwrap_or_default();
    let is_safe = realm.scheme() == "https" || (realm.scheme() == "http" && registry.scheme() == "http");
    let is_allowed = match allowed {
        AllowedHosts::Any => true,
        AllowedHosts::OwnAndListed => {
            !host.is_empty()
                && (is_same_domain(registry.host_str().unwrap_or_default(), host)
                    || is_listed(transport, host))
        }
    };
    let problem = if !is_safe {
        "which is not https"
    } else if !realm.username().is_empty() || realm.password().is_some() {
        "with a user name in the address"
    } else if !is_allowed {
        "which is neither in the registry's own domain nor a listed token server"
    } else {
        return Ok(());
    };
    Err(LoginError::TokenServer { host: host.to_owned(), problem })
}

/// The first offer whose token server may receive a login. Without one, the error says why the first of them
/// may not; without any offer, there is no error either. (containerd and go-containerregistry take the first
/// `Bearer` too; docker's client answers each in turn with the first one's cached token.)
pub(super) fn first_allowed(
    transport: &Transport,
    registry: &Url,
    offers: Vec<BearerChallenge>,
    allowed: AllowedHosts,
) -> Result<Option<BearerChallenge>, LoginError> {
    let mut refused = None;
    for offer in offers {
        match check(transport, registry, &offer.realm, allowed) {
            Ok(()) => return Ok(Some(offer)),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    refused.map_or(Ok(None), Err)
}

/// Returns whether a user named this host as a token server.
pub(super) fn is_listed(transport: &Transport, host: &str) -> bool {
    transport.options().token_servers.iter().any(|listed| listed.eq_ignore_ascii_case(host))
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

/// A request for a token (distribution, "Token Authentication Specification"). A password goes into its
/// header.
pub(super) fn token_request(mut realm: Url, service: Option<&str>, scopes: &[String]) -> Request {
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

/// Sends a request for a token and reads the token. No redirect is followed: it would lead to a server that
/// wasn't checked.
pub(super) async fn exchange(
    transport: &Transport,
    mut request: Request,
    authorization: &Authorization,
) -> Result<IssuedToken, LoginError> {
    let timeout = transport.options().timeouts.response;
    let response = transport.send(&mut request, authorization).await?;
    if response.status() != StatusCode::OK {
        return Err(LoginError::Token(error_of(response, timeout).await));
    }
    let body = read_bounded(response, TOKEN_RESPONSE_MAX, timeout).await?;
    token_response::parse(&body).map_err(|problem| LoginError::TokenBody { problem })
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
        let transport = Transport::for_tests("registry.example", "");
        let check = |registry: &str, realm: &str, allowed| {
            check(&transport, &registry.parse().unwrap(), &realm.parse().unwrap(), allowed)
        };
        let (safe, plain) = ("https://registry.example/v2/", "http://registry.example/v2/");
        for allowed in [AllowedHosts::Any, AllowedHosts::OwnAndListed] {
            for realm in [
                "http://registry.example/token",
                "HTTP://registry.example:443/token",
                "ftp://registry.example/t",
            ] {
                let error = check(safe, realm, allowed).unwrap_err().to_string();
                assert!(error.contains("which is not https"), "{realm}: {error}");
            }
            assert!(check(plain, "http://registry.example/token", allowed).is_ok());
            assert!(check(safe, "https://registry.example/token", allowed).is_ok());
            assert!(check(safe, "https://user@registry.example/token", allowed).is_err());
        }
        assert!(check(safe, "https://auth.example/token", AllowedHosts::Any).is_ok());
        assert!(check(safe, "https://auth.example/token", AllowedHosts::OwnAndListed).is_err());
    }
}

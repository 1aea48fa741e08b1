//! `GET /v2/`: the login that a registry asks for before any other request.

use reqwest::{Method, StatusCode};

use super::authorization::Authorization;
use super::challenge::{self, Challenges};
use crate::error::RequestError;
use crate::error_kind::ErrorKind;
use crate::http::{MAX_REDIRECTS, error_of, redirect_target};
use crate::request::Request;
use crate::transport::Transport;

/// A registry's answer.
pub(super) enum Ping {
    /// The challenges. Without one, the requests that follow decide: some registries challenge single
    /// repositories only (containers/image#2754).
    Challenges {
        challenges: Challenges,
        /// Whether another origin answered, to which the registry redirected.
        is_redirected: bool,
    },
    /// A server error, which says nothing about logins.
    Unknown(RequestError),
}

/// Asks the registry which login it wants. An error decides: the registry can't be reached, or asks for a
/// slower rate.
pub(super) async fn ping(transport: &Transport) -> Result<Ping, RequestError> {
    let mut url = transport.endpoint().base()?.clone();
    for hop in 0..=MAX_REDIRECTS {
        let mut request = Request::read(Method::GET, url.clone());
        let sent = transport.send(&mut request, &Authorization::Anonymous).await;
        let response = match sent {
            Ok(response) => response,
            Err(error) if hop == 0 => return Err(error),
            // The registry itself has answered.
            Err(error) => return Ok(Ping::Unknown(error)),
        };
        let status = response.status();
        if status.is_redirection() {
            match redirect_target(transport.endpoint(), &url, response.headers()) {
                Ok(target) => url = target,
                Err(_) => break,
            }
            continue;
        }
        if status.is_server_error()
            || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
        {
            let error = error_of(response, transport.options().timeouts.response).await;
            return if hop == 0 && matches!(error.kind(), ErrorKind::RateLimited { .. }) {
                Err(error)
            } else {
                Ok(Ping::Unknown(error))
            };
        }
        if status.is_success() {
            break;
        }
        let mut challenges = challenge::parse(&url, response.headers());
        if status != StatusCode::UNAUTHORIZED {
            challenges.problem = None;
        }
        let is_redirected = !transport.endpoint().is_same_origin(&url);
        return Ok(Ping::Challenges { challenges, is_redirected });
    }
    Ok(Ping::Challenges { challenges: Challenges::default(), is_redirected: false })
}

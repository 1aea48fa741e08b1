//! Bounded bodies, errors and redirects of a response.

use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode, Url};

use crate::endpoint::Endpoint;
use crate::error::{RequestError, transport_error};
use crate::error_response::response_error;
use crate::request::Request;

/// Longest part of an error's body that is read: enough for any message.
const ERROR_BODY_MAX: usize = 64 * 1024;

/// Highest number of redirects that are followed. Registries redirect readers of blobs to their storage,
/// once, and some redirect writers (opencontainers/distribution-spec#607). Go's `net/http`, and so every
/// client that is written in Go, follows ten.
pub(crate) const MAX_REDIRECTS: usize = 5;

/// Turns a response of an unexpected status into an error. Reads its body for at most `limit`.
pub(crate) async fn error_of(mut response: Response, limit: Duration) -> RequestError {
    let status = response.status();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| read_delay(value.to_str().ok()?));
    let mut body = Vec::new();
    let read = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            let room = ERROR_BODY_MAX - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if body.len() == ERROR_BODY_MAX {
                break;
            }
        }
    };
    // A body that breaks off or stalls still says something.
    let _ = tokio::time::timeout(limit, read).await;
    response_error(status, retry_after, &body)
}

/// The delay that `Retry-After` asks for: seconds, or until a date (RFC 9110, 10.2.3).
fn read_delay(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(until.duration_since(SystemTime::now()).unwrap_or_default())
}

/// A response's body, if it has at most `max` bytes and arrives within `limit`.
pub(crate) async fn read_bounded(
    response: Response,
    max: usize,
    limit: Duration,
) -> Result<Vec<u8>, RequestError> {
    let read = tokio::time::timeout(limit, read_all(response, max)).await;
    read.unwrap_or(Err(RequestError::ResponseTimeout { limit }))
}

async fn read_all(mut response: Response, max: usize) -> Result<Vec<u8>, RequestError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(transport_error)? {
        if bytes.len() + chunk.len() > max {
            return Err(RequestError::TooLarge { max });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The address in `Location`, absolute or relative to the request's own. It must not leave https; a registry
/// that users reach over plain HTTP may get its clients back from a storage with https.
pub(crate) fn redirect_target(
    registry: &Endpoint,
    base: &Url,
    headers: &HeaderMap,
) -> Result<Url, RequestError> {
    let failed = |problem| RequestError::Location { problem };
    let location = headers.get(LOCATION).ok_or_else(|| failed("is missing"))?;
    let location = location.to_str().map_err(|_| failed("is not readable"))?;
    let url = base.join(location).map_err(|_| failed("is not an address"))?;
    let is_downgrade = base.scheme() == "https" && url.scheme() != "https" && !registry.is_same_origin(&url);
    if is_downgrade || !matches!(url.scheme(), "http" | "https") {
        return Err(failed("leaves https"));
    }
    Ok(url)
}

/// The address to which a response redirects a request that writes: `None` if it doesn't. Only 307 and 308
/// keep method and body (RFC 9110, 15.4.8 and 15.4.9); after another redirect, Go's `net/http` and browsers
/// send a GET, by which nothing is written.
pub(crate) fn write_redirect(
    registry: &Endpoint,
    request: &Request,
    response: &Response,
) -> Result<Option<Url>, RequestError> {
    let status = response.status();
    if matches!(request.method, Method::GET | Method::HEAD) || !status.is_redirection() {
        return Ok(None);
    }
    let target = redirect_target(registry, &request.url, response.headers())?;
    if matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
        return Ok(Some(target));
    }
    let origin = target.origin().ascii_serialization();
    Err(RequestError::LossyRedirect { method: request.method.clone(), status, origin })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error_kind::ErrorKind;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(read_delay(" 7 "), Some(Duration::from_secs(7)));
        let in_a_minute = httpdate::fmt_http_date(SystemTime::now() + Duration::from_mins(1));
        let delay = read_delay(&in_a_minute).unwrap();
        assert!((Duration::from_secs(50)..=Duration::from_mins(1)).contains(&delay), "{delay:?}");
        assert_eq!(read_delay("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!([read_delay(""), read_delay("-1"), read_delay("soon")], [None; 3]);
    }

    #[test]
    fn location_must_not_downgrade_https() {
        let follow = |base: &str, location: &'static str| {
            let headers = HeaderMap::from_iter([(LOCATION, location.parse().unwrap())]);
            // Users reach `plain.example` over plain HTTP, and every other registry over https.
            let registry = if base.contains("plain") || location.contains("plain") {
                Endpoint::new("plain.example", true)
            } else {
                Endpoint::new("registry.example", false)
            };
            redirect_target(&registry, &base.parse().unwrap(), &headers)
        };
        let (safe, plain) =
            ("https://registry.example/v2/app/blobs/x", "http://registry.example/v2/app/blobs/x");
        for (base, location, found) in [
            (safe, "https://storage.example/x?signed", "https://storage.example/x?signed"),
            (safe, "//storage.example/x", "https://storage.example/x"),
            (safe, "y", "https://registry.example/v2/app/blobs/y"),
            (plain, "/y", "http://registry.example/y"),
            (plain, "http://storage.example/x", "http://storage.example/x"),
            (plain, "https://storage.example/x", "https://storage.example/x"),
            ("https://storage.example/x", "http://plain.example/y", "http://plain.example/y"),
        ] {
            assert_eq!(follow(base, location).unwrap().as_str(), found);
        }
        for (base, location) in [
            (safe, "http://registry.example/v2/app/blobs/x"),
            (safe, "HTTP://storage.example/x"),
            (safe, "file:///etc/passwd"),
            (plain, "ftp://storage.example/x"),
            ("https://storage.example/x", "http://plain.example:8080/y"),
            ("https://storage.example/x", "http://storage.example/plain"),
        ] {
            let error = follow(base, location).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Other);
            assert!(error.to_string().contains("Location header leaves https"), "{location}: {error}");
        }
    }
}

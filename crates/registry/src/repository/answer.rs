//! What kind of trouble a registry's answer is. By status and by the specification's error codes
//! (distribution specification, "Error codes"), never by the text for people.

use std::error::Error;
use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;
use zstart_core::chain;

use super::network::Forbidden;
use super::session::Session;
use crate::{Access, RepositoryError, Trouble};

/// How much of an error's body is read: enough for any message.
const ERROR_BODY_MAX: usize = 64 * 1024;
/// How much of it is shown.
const MESSAGE_MAX: usize = 300;

/// A request that got no answer, or not all of it.
pub(super) fn from_request(
    session: &Session,
    access: Access,
    operation: &str,
    error: reqwest::Error,
) -> RepositoryError {
    let trouble = request_trouble(&error);
    // Addresses of uploads and of storage behind a registry carry signatures: only the host is named.
    let elsewhere = error.url().filter(|url| !session.is_own_host(url)).and_then(|url| url.host_str());
    let host = elsewhere.map(|host| format!("{host}: ")).unwrap_or_default();
    session.error(access, operation, trouble, format!("{host}{}", chain(&error.without_url())))
}

/// An answer of another status than was hoped for.
pub(super) async fn from_response(
    session: &Session,
    access: Access,
    operation: &str,
    mut response: Response,
) -> RepositoryError {
    let status = response.status();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| read_pause(value.to_str().ok()?));
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
    // What came until then is all that is told.
    let _ = tokio::time::timeout(session.limits().answer, read).await;
    let envelope: Option<Envelope> = serde_json::from_slice(&body).ok();
    let trouble = match (status_trouble(status, retry_after), envelope.as_ref().and_then(Envelope::trouble)) {
        // An upload that was lost is a 404 to some, and isn't a missing image.
        (Trouble::NotFound | Trouble::Other, Some(by_code)) => by_code,
        (by_status, _) => by_status,
    };
    let said =
        envelope.map_or_else(|| shortened(&String::from_utf8_lossy(&body)), |envelope| envelope.message());
    session.error(access, operation, trouble, format!("HTTP {} {said}", status.as_u16()))
}

/// How long `Retry-After` asks to wait: seconds, or until a date (RFC 9110, 10.2.3).
fn read_pause(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(until.duration_since(SystemTime::now()).unwrap_or_default())
}

/// An answer's body, if it has no more than `most` bytes and comes in time.
pub(super) async fn read_bounded(
    session: &Session,
    access: Access,
    operation: &str,
    response: Response,
    most: usize,
) -> Result<Vec<u8>, RepositoryError> {
    let limit = session.limits().answer;
    let read = read_all(session, access, operation, response, most);
    tokio::time::timeout(limit, read).await.unwrap_or_else(|_| {
        let message = format!("the answer takes longer than {} s", limit.as_secs());
        Err(session.error(access, operation, Trouble::Unavailable, message))
    })
}

async fn read_all(
    session: &Session,
    access: Access,
    operation: &str,
    mut response: Response,
    most: usize,
) -> Result<Vec<u8>, RepositoryError> {
    let mut bytes = Vec::new();
    loop {
        let chunk = response.chunk().await;
        match chunk.map_err(|error| from_request(session, access, operation, error))? {
            None => return Ok(bytes),
            Some(chunk) if bytes.len() + chunk.len() <= most => bytes.extend_from_slice(&chunk),
            Some(_) => {
                let message = format!("the answer is larger than {most} bytes");
                return Err(session.error(access, operation, Trouble::Other, message));
            }
        }
    }
}

/// The place that an answer names for the next request, absolute or relative to the one before.
pub(super) fn location(
    session: &Session,
    access: Access,
    operation: &str,
    base: &Url,
    headers: &HeaderMap,
) -> Result<Url, RepositoryError> {
    let failed = |message: &str| session.error(access, operation, Trouble::Other, message);
    let location = headers.get(LOCATION).ok_or_else(|| failed("the registry named no Location"))?;
    let location = location.to_str().map_err(|_| failed("the registry's Location is not readable"))?;
    let url = base.join(location).map_err(|_| failed("the registry's Location is not an address"))?;
    let downgraded = base.scheme() == "https" && url.scheme() != "https";
    if downgraded || !matches!(url.scheme(), "http" | "https") {
        return Err(failed("the registry's Location leaves https"));
    }
    Ok(url)
}

fn status_trouble(status: StatusCode, retry_after: Option<Duration>) -> Trouble {
    match status {
        StatusCode::NOT_FOUND => Trouble::NotFound,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Trouble::Denied,
        StatusCode::TOO_MANY_REQUESTS => Trouble::RateLimited { retry_after },
        StatusCode::REQUEST_TIMEOUT => Trouble::Unavailable,
        // Under maintenance, for instance: it knows better than we when it is back.
        status if status.is_server_error() && retry_after.is_some() => Trouble::RateLimited { retry_after },
        status if status.is_server_error() => Trouble::Unavailable,
        _ => Trouble::Other,
    }
}

/// The body of an error (distribution specification, "Error codes").
#[derive(Deserialize)]
struct Envelope {
    errors: Vec<EnvelopeError>,
}

#[derive(Deserialize)]
struct EnvelopeError {
    code: String,
    #[serde(default)]
    message: String,
}

impl Envelope {
    fn trouble(&self) -> Option<Trouble> {
        self.errors.iter().find_map(|error| match &*error.code {
            "MANIFEST_UNKNOWN" | "NAME_UNKNOWN" | "BLOB_UNKNOWN" | "NOT_FOUND" => Some(Trouble::NotFound),
            "UNAUTHORIZED" | "DENIED" => Some(Trouble::Denied),
            "TOOMANYREQUESTS" => Some(Trouble::RateLimited { retry_after: None }),
            "TAG_INVALID" => Some(Trouble::TagTaken),
            "DIGEST_INVALID" | "SIZE_INVALID" => Some(Trouble::Mismatch),
            // The session was lost: it starts again from a new one.
            "BLOB_UPLOAD_UNKNOWN" | "BLOB_UPLOAD_INVALID" => Some(Trouble::Unavailable),
            _ => None,
        })
    }

    fn message(&self) -> String {
        let errors = self.errors.iter().map(|error| format!("{}: {}", error.code, error.message));
        shortened(&errors.collect::<Vec<_>>().join("; "))
    }
}

fn request_trouble(error: &reqwest::Error) -> Trouble {
    // Whatever keeps a request from being answered may pass; a request that can't be built won't, nor
    // one to where nobody may be sent.
    if error.is_builder() || is_forbidden(error) { Trouble::Other } else { Trouble::Unavailable }
}

fn is_forbidden(error: &reqwest::Error) -> bool {
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(error) = cause {
        if error.is::<Forbidden>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The front of a text from outside, in one line, without what would steer a terminal.
fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ").replace(char::is_control, "\u{fffd}");
    match line.char_indices().nth(MESSAGE_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_until_a_date() {
        assert_eq!(read_pause(" 7 "), Some(Duration::from_secs(7)));
        let in_a_minute = httpdate::fmt_http_date(SystemTime::now() + Duration::from_mins(1));
        let pause = read_pause(&in_a_minute).unwrap();
        assert!((Duration::from_secs(50)..=Duration::from_mins(1)).contains(&pause), "{pause:?}");
        assert_eq!(read_pause("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!([read_pause(""), read_pause("-1"), read_pause("soon")], [None; 3]);
    }

    #[test]
    fn a_message_from_outside_is_one_short_line_that_steers_no_terminal() {
        assert_eq!(shortened("  denied\n\tby\u{1b}[2Jpolicy "), "denied by\u{fffd}[2Jpolicy");
        assert_eq!(shortened(&"x".repeat(1000)).chars().count(), MESSAGE_MAX + 1);
    }
    #[test]
    fn nobody_is_led_from_https_to_http_nor_to_what_is_neither() {
        let session = Session::of_tests("registry.example/app:v1", "");
        let led = |base: &str, location: &'static str| {
            let headers = HeaderMap::from_iter([(LOCATION, location.parse().unwrap())]);
            super::location(&session, Access::Push, "upload a blob", &base.parse().unwrap(), &headers)
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
        ] {
            assert_eq!(led(base, location).unwrap().as_str(), found);
        }
        for (base, location) in [
            (safe, "http://registry.example/v2/app/blobs/x"),
            (safe, "HTTP://storage.example/x"),
            (safe, "file:///etc/passwd"),
            (plain, "ftp://storage.example/x"),
        ] {
            let error = led(base, location).unwrap_err();
            assert_eq!(error.trouble, Trouble::Other);
            assert!(error.message.contains("Location leaves https"), "{location}: {error}");
        }
    }
}

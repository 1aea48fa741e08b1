//! Errors that a registry answers with, and their classification.
//!
//! Status and error codes (distribution specification, "Error codes") decide, never the text for people.

use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;

use crate::error::RequestError;
use crate::error_kind::ErrorKind;

/// Longest part of a registry's message that is shown, in characters.
const MESSAGE_MAX: usize = 300;

/// An answer with an unexpected status. `body` is the front of the answer's body.
pub(crate) fn response_error(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> RequestError {
    let response: Option<ErrorResponse> = serde_json::from_slice(body).ok();
    let by_code = response.as_ref().and_then(ErrorResponse::kind);
    let kind = match (kind_of_status(status, retry_after), by_code) {
        // Some registries answer 404 for an upload session that is gone: that is no missing image.
        (ErrorKind::NotFound | ErrorKind::Other, Some(by_code)) => by_code,
        (by_status, _) => by_status,
    };
    let misses_content = response.as_ref().is_some_and(ErrorResponse::misses_content);
    let message = match response {
        Some(response) => response.message(),
        None => {
            hint(status, body).map_or_else(|| one_line(&String::from_utf8_lossy(body)), ToOwned::to_owned)
        }
    };
    RequestError::Response { status, kind, message, misses_content }
}

/// A better text than the body's, which serves programs that speak to the wrong port or lack a login.
fn hint(status: StatusCode, body: &[u8]) -> Option<&'static str> {
    // Texts of Go's net/http, nginx and Apache.
    let from_tls_ports =
        ["HTTP request to an HTTPS server", "plain HTTP request was sent to HTTPS", "plain HTTP to an SSL"];
    let body = String::from_utf8_lossy(body);
    match status {
        StatusCode::BAD_REQUEST if from_tls_ports.iter().any(|text| body.contains(text)) => {
            Some("the server expects TLS and got plain HTTP")
        }
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            Some("the proxy wants a login: write http://USER:PASSWORD@HOST:PORT in HTTP_PROXY")
        }
        _ => None,
    }
}

fn kind_of_status(status: StatusCode, retry_after: Option<Duration>) -> ErrorKind {
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => ErrorKind::NotFound,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErrorKind::Denied,
        StatusCode::TOO_MANY_REQUESTS => ErrorKind::RateLimited { retry_after },
        StatusCode::REQUEST_TIMEOUT => ErrorKind::Unavailable,
        // The same request never succeeds.
        StatusCode::NOT_IMPLEMENTED => ErrorKind::Other,
        // A registry under maintenance knows best when it returns.
        status if status.is_server_error() && retry_after.is_some() => ErrorKind::RateLimited { retry_after },
        status if status.is_server_error() => ErrorKind::Unavailable,
        _ => ErrorKind::Other,
    }
}

/// Body of an error (distribution specification, "Error codes").
#[derive(Deserialize)]
struct ErrorResponse {
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    code: String,
    /// Absent or `null` in the answers of some registries.
    message: Option<String>,
}

impl ErrorResponse {
    fn kind(&self) -> Option<ErrorKind> {
        self.errors.iter().find_map(|error| match &*error.code {
            "MANIFEST_UNKNOWN" | "NAME_UNKNOWN" | "BLOB_UNKNOWN" | "NOT_FOUND" => Some(ErrorKind::NotFound),
            "UNAUTHORIZED" | "DENIED" => Some(ErrorKind::Denied),
            "TOOMANYREQUESTS" => Some(ErrorKind::RateLimited { retry_after: None }),
            // Amazon ECR; Quay; Harbor, with status 412.
            "TAG_INVALID" | "TAG_IMMUTABLE" | "PRECONDITION" => Some(ErrorKind::TagImmutable),
            "DIGEST_INVALID" | "SIZE_INVALID" => Some(ErrorKind::ContentMismatch),
            // The upload session is gone; a retry opens a new one.
            "BLOB_UPLOAD_UNKNOWN" | "BLOB_UPLOAD_INVALID" => Some(ErrorKind::Unavailable),
            _ => None,
        })
    }

    /// Distribution names missing blobs and manifests of an index `MANIFEST_BLOB_UNKNOWN`, Nexus
    /// `BLOB_UNKNOWN` (estesp/manifest-tool#191), others `MANIFEST_UNKNOWN`.
    fn misses_content(&self) -> bool {
        let codes = ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"];
        self.errors.iter().any(|error| codes.contains(&&*error.code))
    }

    fn message(&self) -> String {
        let errors = self.errors.iter().map(|ErrorEntry { code, message }| match message {
            Some(message) => format!("{code}: {message}"),
            None => code.clone(),
        });
        one_line(&errors.collect::<Vec<_>>().join("; "))
    }
}

/// The front of a registry's or a program's text, in one line, without characters that steer a terminal.
pub(crate) fn one_line(text: &str) -> String {
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
    fn registry_message_becomes_one_short_harmless_line() {
        assert_eq!(one_line("  denied\n\tby\u{1b}[2Jpolicy "), "denied by\u{fffd}[2Jpolicy");
        assert_eq!(one_line(&"x".repeat(1000)).chars().count(), MESSAGE_MAX + 1);
    }

    #[test]
    fn error_code_decides_where_the_status_says_little() {
        let kind = |status, code: &str| {
            let body = format!(r#"{{"errors":[{{"code":"{code}"}}]}}"#);
            response_error(status, None, body.as_bytes()).kind()
        };
        assert_eq!(kind(StatusCode::BAD_REQUEST, "TAG_INVALID"), ErrorKind::TagImmutable);
        assert_eq!(kind(StatusCode::CONFLICT, "TAG_IMMUTABLE"), ErrorKind::TagImmutable);
        assert_eq!(kind(StatusCode::PRECONDITION_FAILED, "PRECONDITION"), ErrorKind::TagImmutable);
        assert_eq!(kind(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"), ErrorKind::Unavailable);
        assert_eq!(kind(StatusCode::FORBIDDEN, "TAG_INVALID"), ErrorKind::Denied);
        assert_eq!(kind(StatusCode::BAD_GATEWAY, "NAME_UNKNOWN"), ErrorKind::Unavailable);
        let silent = br#"{"errors":[{"code":"TAG_INVALID","message":null,"detail":null}]}"#;
        assert_eq!(response_error(StatusCode::BAD_REQUEST, None, silent).kind(), ErrorKind::TagImmutable);
        assert_eq!(kind(StatusCode::GONE, "OTHER"), ErrorKind::NotFound);
        assert_eq!(kind(StatusCode::NOT_IMPLEMENTED, "UNSUPPORTED"), ErrorKind::Other);
    }
}

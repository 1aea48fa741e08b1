//! Refusals that leave a question open: whether an object exists, and whether a write will be accepted later.

use reqwest::StatusCode;

use crate::error::RequestError;
use crate::error_kind::ErrorKind;

impl RequestError {
    /// Whether the registry, or its token server, refused the request with an answer of its own, and didn't say
    /// that the object is missing. Such a look-up says nothing about the object.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self.kind(), ErrorKind::Denied | ErrorKind::Other)
            && self.status().is_some_and(|status| {
                status.is_client_error() && status != StatusCode::PROXY_AUTHENTICATION_REQUIRED
            })
    }

    /// Whether the registry refused a manifest because it doesn't have, or doesn't see yet, content that the
    /// manifest names, or the repository that the first blob created.
    pub(crate) fn misses_content(&self) -> bool {
        matches!(
            self,
            Self::Response { misses_content: true, .. }
                | Self::Response { status: StatusCode::NOT_FOUND, .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::LoginError;
    use crate::error_response::response_error;

    fn error(status: StatusCode, code: &str) -> RequestError {
        let body = format!(r#"{{"errors":[{{"code":"{code}"}}]}}"#);
        response_error(status, None, body.as_bytes())
    }

    #[test]
    fn refusal_leaves_the_object_unknown() {
        let refused_login =
            |status| RequestError::Login(Box::new(LoginError::Token(error(status, "DENIED"))));
        let refusals = [
            error(StatusCode::FORBIDDEN, "DENIED"),
            error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED"),
            error(StatusCode::BAD_REQUEST, "UNSUPPORTED"),
            error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
            refused_login(StatusCode::FORBIDDEN),
            refused_login(StatusCode::NOT_FOUND),
        ];
        assert!(refusals.iter().all(RequestError::is_refusal), "{refusals:?}");
        let others = [
            error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
            error(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
            error(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
            refused_login(StatusCode::BAD_GATEWAY),
            error(StatusCode::PROXY_AUTHENTICATION_REQUIRED, "DENIED"),
            RequestError::TooLarge { max: 1 },
        ];
        assert!(!others.iter().any(RequestError::is_refusal), "{others:?}");
    }

    #[test]
    fn missing_content_is_known_by_code_or_status() {
        for code in ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"] {
            assert!(error(StatusCode::BAD_REQUEST, code).misses_content(), "{code}");
        }
        assert!(error(StatusCode::NOT_FOUND, "OTHER").misses_content());
        assert!(!error(StatusCode::BAD_REQUEST, "MANIFEST_INVALID").misses_content());
    }
}

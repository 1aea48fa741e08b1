//! Errors of registries and layouts, with the class of each.

use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::{Method, StatusCode, Url};
use thiserror::Error;
use zstart_core::Digest;

use crate::auth::ProviderError;
use crate::connection_error::{ConnectionError, diagnose};
use crate::error_kind::ErrorKind;
use crate::http::{ProxyServer, UnusableProxy};
use crate::operation::{Access, Operation};

/// Error of the URL parser.
pub(crate) type UrlError = <Url as std::str::FromStr>::Err;

/// A failed operation on a repository. The message names operation and repository; causes follow in
/// [`source`](Error::source).
#[derive(Debug, Error)]
#[error("failed to {operation} at {location}")]
pub struct RegistryError {
    /// The operation that failed.
    pub operation: Operation,
    /// The repository, as [`Store::location`](crate::Store::location) names it.
    pub location: String,
    /// Class of the error.
    pub kind: ErrorKind,
    /// HTTP status, if the registry answered with an error.
    pub status: Option<u16>,
    /// Cause.
    pub source: Box<dyn Error + Send + Sync>,
}

impl RegistryError {
    /// An error that is no answer of a registry.
    pub fn new(
        operation: Operation,
        location: impl Into<String>,
        kind: ErrorKind,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { operation, location: location.into(), kind, status: None, source: source.into() }
    }

    /// Returns whether the registry or its token server refused the login itself, e.g. for a wrong password. A
    /// registry that knows the user and misses a right mostly answers 403.
    pub fn is_login_refusal(&self) -> bool {
        let is_login = || matches!(self.source.downcast_ref(), Some(RequestError::Login(_)));
        self.kind == ErrorKind::Denied && (self.status == Some(401) || is_login())
    }

    /// The error and its causes in one line.
    pub fn chain(&self) -> String {
        zstart_core::chain(self)
    }
}

/// A failed request, without the operation that it belongs to.
#[derive(Debug, Error)]
pub(crate) enum RequestError {
    #[error("{registry} is not a usable address")]
    Address { registry: String, source: UrlError },
    #[error(transparent)]
    Forbidden(#[from] ForbiddenAddress),
    #[error(transparent)]
    Proxy(#[from] UnusableProxy),
    /// No answer, or a body that broke off. Upload addresses and storage addresses carry signatures, so the
    /// message names the host alone.
    #[error("request to {host} failed")]
    Transport { host: String, kind: ErrorKind, source: Box<dyn Error + Send + Sync> },
    #[error("HTTP {} {message}", .status.as_u16())]
    Response {
        status: StatusCode,
        kind: ErrorKind,
        message: String,
        /// Whether the registry misses content that a pushed manifest names.
        misses_content: bool,
    },
    #[error("response exceeds the limit of {max} bytes")]
    TooLarge { max: usize },
    #[error("response took longer than {limit:?}")]
    ResponseTimeout { limit: Duration },
    #[error(transparent)]
    Stalled(#[from] Stalled),
    #[error("registry's Location header {problem}")]
    Location { problem: &'static str },
    #[error("registry answered with more than {max} redirects")]
    Redirects { max: usize },
    /// A redirect after which nothing is written.
    #[error(
        "registry redirects {method} with HTTP {}, which turns it into GET; it must answer 307 or 308, or be \
         addressed as {origin}",
        .status.as_u16()
    )]
    LossyRedirect { method: Method, status: StatusCode, origin: String },
    #[error("registry redirected the upload (HTTP {}) after part of it was sent", .status.as_u16())]
    StreamRedirected { status: StatusCode },
    #[error("registry served {found} instead of {expected}")]
    Digest { found: Digest, expected: Digest },
    #[error("response is not {expected}")]
    Body { expected: &'static str },
    #[error("token expired during the upload (HTTP {})", .status.as_u16())]
    TokenExpired { status: StatusCode },
    #[error("failed to log in")]
    Login(#[source] Box<LoginError>),
    /// Amazon ECR's answer to an upload into a repository that doesn't exist, with a hint.
    #[error("{hint}")]
    NoRepository { hint: String, source: Box<RequestError> },
    #[error("the tag names {found}, and this repository's tags are immutable: write to another tag")]
    TagImmutable { found: Digest, source: Box<RequestError> },
}

/// A failed login.
#[derive(Debug, Error)]
pub(crate) enum LoginError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Provider(#[from] ProviderError),
    #[error("registry's WWW-Authenticate header is not readable: {problem}")]
    Challenge { problem: String },
    #[error(
        "registry wants a user name and a password, and the credentials are an identity token; log in with a \
         user name and a password"
    )]
    PasswordNeeded,
    /// Nothing was sent to that token server.
    #[error("registry sends logins to {host}, {problem}; nothing was sent to that host")]
    TokenServer { host: String, problem: &'static str },
    #[error("token server refused")]
    Token(#[source] RequestError),
    #[error("token server's response {problem}")]
    TokenBody { problem: &'static str },
    #[error("at {host}, to which the registry redirects its clients")]
    Redirect { host: String, source: Box<LoginError> },
}

/// A transfer that was aborted.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum Stalled {
    #[error("download throughput fell below {per_second} bytes/s for {window:?}")]
    SlowDownload { per_second: u64, window: Duration },
    #[error("upload throughput fell below {per_second} bytes/s for {window:?}")]
    SlowUpload { per_second: u64, window: Duration },
    #[error("registry accepted no bytes for {limit:?}")]
    IdleUpload { limit: Duration },
}

/// An address to which zstart doesn't connect.
#[derive(Debug, Error)]
#[error("{host} has the address {address}, {reason}")]
pub(crate) struct ForbiddenAddress {
    pub(crate) host: String,
    pub(crate) address: IpAddr,
    pub(crate) reason: ForbiddenReason,
}

/// Reason why zstart doesn't connect to an address.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum ForbiddenReason {
    /// Servers listen there, and no client connects to it. (Linux takes it for loopback.)
    #[error("which names no machine: write localhost for this one")]
    Unspecified,
    #[error("which is link-local or reserved: zstart never connects there")]
    LinkLocalOrReserved,
    #[error("to which no registry may send its clients")]
    Private,
}

impl RequestError {
    /// Class of the error.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Transport { kind, .. } | Self::Response { kind, .. } => *kind,
            // The next attempt of a redirected upload asks for the address first.
            Self::ResponseTimeout { .. }
            | Self::Stalled(_)
            | Self::TokenExpired { .. }
            | Self::StreamRedirected { .. } => ErrorKind::Unavailable,
            Self::Digest { .. } => ErrorKind::ContentMismatch,
            Self::Login(error) => error.kind(),
            Self::NoRepository { .. } => ErrorKind::NotFound,
            Self::TagImmutable { .. } => ErrorKind::TagImmutable,
            Self::Address { .. }
            | Self::Forbidden(_)
            | Self::Proxy(_)
            | Self::TooLarge { .. }
            | Self::Location { .. }
            | Self::Redirects { .. }
            | Self::LossyRedirect { .. }
            | Self::Body { .. } => ErrorKind::Other,
        }
    }

    /// Status of the answer that the error is about.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Response { status, .. }
            | Self::TokenExpired { status }
            | Self::StreamRedirected { status }
            | Self::LossyRedirect { status, .. } => Some(*status),
            Self::NoRepository { source, .. } | Self::TagImmutable { source, .. } => source.status(),
            Self::Login(error) => error.status(),
            Self::Address { .. }
            | Self::Forbidden(_)
            | Self::Proxy(_)
            | Self::Transport { .. }
            | Self::TooLarge { .. }
            | Self::ResponseTimeout { .. }
            | Self::Stalled(_)
            | Self::Location { .. }
            | Self::Redirects { .. }
            | Self::Digest { .. }
            | Self::Body { .. } => None,
        }
    }

    /// The error with its context.
    pub(crate) fn during(self, operation: Operation, location: &str) -> RegistryError {
        let kind = match self.status() {
            // Mirrors and read-only registries have no such method.
            Some(StatusCode::METHOD_NOT_ALLOWED) if operation.access == Access::Push => ErrorKind::Denied,
            _ => self.kind(),
        };
        RegistryError {
            operation,
            location: location.to_owned(),
            kind,
            status: self.status().map(|status| status.as_u16()),
            source: Box::new(self),
        }
    }
}

impl LoginError {
    fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Request(error) | Self::Token(error) => error.status(),
            Self::Redirect { source, .. } => source.status(),
            Self::Provider(_)
            | Self::Challenge { .. }
            | Self::PasswordNeeded
            | Self::TokenServer { .. }
            | Self::TokenBody { .. } => None,
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Request(error) => error.kind(),
            // It isn't the image that is missing.
            Self::Token(error) => match error.kind() {
                ErrorKind::NotFound => ErrorKind::Other,
                kind => kind,
            },
            Self::Provider(error) => error.kind,
            Self::PasswordNeeded => ErrorKind::Denied,
            Self::Redirect { source, .. } => source.kind(),
            Self::Challenge { .. } | Self::TokenServer { .. } | Self::TokenBody { .. } => ErrorKind::Other,
        }
    }
}

impl From<LoginError> for RequestError {
    fn from(error: LoginError) -> Self {
        Self::Login(Box::new(error))
    }
}

/// A response that broke off.
pub(crate) fn transport_error(error: reqwest::Error) -> RequestError {
    send_error(error, None)
}

/// A request without a response. `proxy` is the request's proxy.
pub(crate) fn send_error(error: reqwest::Error, proxy: Option<&ProxyServer>) -> RequestError {
    let host = error.url().and_then(|url| url.host_str()).unwrap_or_default().to_owned();
    // A request that can't be built fails again, and so does one to a forbidden address.
    let is_final = error.is_builder() || is_forbidden(&error);
    let source = diagnose(error, proxy);
    let is_final = is_final || ConnectionError::find(&*source).is_some_and(ConnectionError::is_proxy_login);
    let kind = if is_final { ErrorKind::Other } else { ErrorKind::Unavailable };
    RequestError::Transport { host, kind, source }
}

fn is_forbidden(error: &reqwest::Error) -> bool {
    std::iter::successors(Some(error as &dyn Error), |&cause| cause.source())
        .any(<dyn Error>::is::<ForbiddenAddress>)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error_response::response_error;

    #[test]
    fn refused_login_differs_from_a_missing_right() {
        let response = |status| response_error(status, None, b"{}");
        let token = |status| RequestError::from(LoginError::Token(response(status)));
        for (error, expected) in [
            (response(StatusCode::UNAUTHORIZED), true),
            (response(StatusCode::FORBIDDEN), false),
            (response(StatusCode::NOT_FOUND), false),
            (token(StatusCode::UNAUTHORIZED), true),
            // GHCR's answer to a wrong token.
            (token(StatusCode::FORBIDDEN), true),
            (token(StatusCode::SERVICE_UNAVAILABLE), false),
        ] {
            let error = error.during(Operation::pull("pull image", "v1"), "registry.example/app");
            assert_eq!(error.is_login_refusal(), expected, "{}", error.chain());
        }
    }

    #[test]
    fn context_is_added_once_and_causes_follow() {
        let error = response_error(StatusCode::NOT_FOUND, None, b"{}");
        let error = error.during(Operation::pull("pull image", "v1"), "registry.example/app");
        assert_eq!((error.kind, error.status), (ErrorKind::NotFound, Some(404)));
        assert_eq!(error.chain(), "failed to pull image v1 at registry.example/app: HTTP 404 {}");
    }
}

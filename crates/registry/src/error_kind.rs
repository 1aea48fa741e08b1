//! Classes of errors.

use std::time::Duration;

/// Class of an error, by which callers choose a retry, a condition or an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The object doesn't exist.
    NotFound,
    /// The credentials lack the right, or there are none.
    Denied,
    /// No answer, a broken connection, or an error of the registry's own. A retry may help.
    Unavailable,
    /// Too many requests.
    RateLimited {
        /// Delay that the registry asked for.
        retry_after: Option<Duration>,
    },
    /// The tag names another manifest, and the repository's tags are immutable.
    TagImmutable,
    /// The content doesn't have its digest.
    ContentMismatch,
    /// Anything else.
    Other,
}

//! Retries of whole blobs. A broken transfer can't be resumed: the bytes that were sent are gone with the
//! upload session.

use std::time::Duration;

use zstart_core::Digest;
use zstart_registry::{Backoff, ErrorKind, RegistryError, RetryPolicy};

use crate::error::{Error, ErrorClass};

const POLICY: RetryPolicy = RetryPolicy {
    backoff: Backoff { initial: Duration::from_millis(250), max: Duration::from_secs(10) },
    attempts: 3,
};

/// A failed attempt.
pub(crate) enum BlobError {
    /// The blob or the upload could not be opened.
    Open(RegistryError),
    /// The transfer failed.
    Transfer(Error),
}

impl BlobError {
    /// The store failed during the transfer.
    pub(crate) fn transfer(error: RegistryError) -> Self {
        Self::Transfer(error.into())
    }

    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Open(error) => error.into(),
            Self::Transfer(error) => error,
        }
    }

    /// Class of the error for a retry. The store has retried an open itself.
    fn kind(&self) -> ErrorKind {
        let Self::Transfer(error) = self else { return ErrorKind::Other };
        match error.class() {
            ErrorClass::Unavailable => ErrorKind::Unavailable,
            ErrorClass::RateLimited { retry_after } => ErrorKind::RateLimited { retry_after },
            ErrorClass::NotFound
            | ErrorClass::PullDenied
            | ErrorClass::PushDenied
            | ErrorClass::ContentMismatch
            | ErrorClass::NotVerified
            | ErrorClass::SourceMoved
            | ErrorClass::VariantConflict
            | ErrorClass::Refused
            | ErrorClass::Other => ErrorKind::Other,
        }
    }
}

/// Runs `attempt` until it succeeds, fails for good, or has no attempts left. Calls `on_retry` before each
/// further attempt.
pub(crate) async fn retry_blob<T, F, R>(blob: &Digest, on_retry: impl Fn(), attempt: F) -> Result<T, Error>
where
    F: Fn() -> R,
    R: Future<Output = Result<T, BlobError>>,
{
    let on_retry = |error: &BlobError| {
        if let BlobError::Transfer(error) = error {
            tracing::warn!(%blob, error = error.chain(), "retrying a blob");
        }
        on_retry();
    };
    POLICY.run(attempt, BlobError::kind, on_retry).await.map_err(BlobError::into_error)
}

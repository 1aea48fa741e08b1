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
    /// The blob or the upload could not be opened. The store has retried that itself.
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
}

/// Runs `attempt` until it succeeds, fails for good, or has no attempts left. Calls `on_retry` before each
/// further attempt.
pub(crate) async fn retry_blob<T, F, R>(blob: &Digest, on_retry: impl Fn(), attempt: F) -> Result<T, Error>
where
    F: Fn() -> R,
    R: Future<Output = Result<T, BlobError>>,
{
    for number in 1.. {
        let error = match attempt().await {
            Ok(value) => return Ok(value),
            Err(BlobError::Open(error)) => return Err(error.into()),
            Err(BlobError::Transfer(error)) => error,
        };
        let Some(delay) = delay_after(number, &error) else { return Err(error) };
        tracing::warn!(%blob, error = error.chain(), "retrying a blob");
        on_retry();
        tokio::time::sleep(delay).await;
    }
    unreachable!("the loop ends by returning")
}

fn delay_after(attempt: u32, error: &Error) -> Option<Duration> {
    match error.class() {
        ErrorClass::Unavailable => POLICY.delay_after(attempt, ErrorKind::Unavailable),
        ErrorClass::RateLimited { retry_after } => {
            POLICY.delay_after(attempt, ErrorKind::RateLimited { retry_after })
        }
        ErrorClass::NotFound
        | ErrorClass::PullDenied
        | ErrorClass::PushDenied
        | ErrorClass::ContentMismatch
        | ErrorClass::SourceMoved
        | ErrorClass::VariantConflict
        | ErrorClass::Refused
        | ErrorClass::Other => None,
    }
}

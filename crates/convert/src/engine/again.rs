//! Beginning a blob anew after the other side broke off. The bytes that were sent are gone with the
//! upload session, so there is nothing to resume.

use std::time::Duration;

use zstart_core::Digest;

use crate::error::{Error, ErrorClass};
use zstart_registry::RepositoryError;
use zstart_registry::jittered;

/// How often a blob is begun at most.
const ATTEMPTS: u32 = 3;
/// The pause before the second attempt; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// A registry that asks for a longer pause is left to whoever called: a worker isn't held for that.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How an attempt failed.
pub(super) enum Failed {
    /// Before the first byte. The repository has tried that often enough itself.
    AtOnce(Error),
    /// On the way.
    Midway(Error),
}

impl Failed {
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::AtOnce(error) | Self::Midway(error) => error,
        }
    }

    /// A blob or an upload that could not be opened.
    pub(super) fn opening(error: RepositoryError) -> Self {
        Self::AtOnce(error.into())
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Midway(error)
    }
}

impl From<RepositoryError> for Failed {
    fn from(error: RepositoryError) -> Self {
        Self::Midway(error.into())
    }
}

/// Runs `attempt` until it succeeds, fails for good, or has been tried often enough. `retrying` is
/// told of each new beginning.
pub(super) async fn with_attempts<T, F, R>(blob: &Digest, retrying: impl Fn(), attempt: F) -> Result<T, Error>
where
    F: Fn() -> R,
    R: Future<Output = Result<T, Failed>>,
{
    for number in 1.. {
        let error = match attempt().await {
            Ok(value) => return Ok(value),
            Err(Failed::AtOnce(error)) => return Err(error),
            Err(Failed::Midway(error)) => error,
        };
        let Some(pause) = pause_after(&error, number).filter(|_| number < ATTEMPTS) else {
            return Err(error);
        };
        tracing::warn!(%blob, error = error.chain(), "starting a blob again");
        retrying();
        tokio::time::sleep(pause).await;
    }
    unreachable!("the loop ends by returning")
}

/// How long to wait after the attempt of this number; `None` where another one would be in vain.
fn pause_after(error: &Error, number: u32) -> Option<Duration> {
    match error.class() {
        ErrorClass::Unavailable | ErrorClass::RateLimited { retry_after: None } => {
            Some(jittered(FIRST_PAUSE * 2_u32.pow(number - 1)))
        }
        // One that asks for none gets one all the same.
        ErrorClass::RateLimited { retry_after: Some(wanted) } => {
            (wanted <= LONGEST_PAUSE).then(|| wanted.max(jittered(FIRST_PAUSE)))
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

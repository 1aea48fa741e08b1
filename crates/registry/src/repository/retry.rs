//! Trying again what may pass.

use std::time::Duration;

use crate::jitter::jittered;
use crate::{RepositoryError, Trouble};

/// How often a request is made at most.
const ATTEMPTS: u32 = 4;
/// A registry that asks for a longer pause is left to whoever called: a worker isn't held for that.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Runs `operation` until it succeeds, fails for good, or has been tried often enough; with this pause
/// before the second attempt, and twice as long each time.
pub(super) async fn with_retries<T, F, R>(mut pause: Duration, operation: F) -> Result<T, RepositoryError>
where
    F: Fn() -> R,
    R: Future<Output = Result<T, RepositoryError>>,
{
    for attempt in 1.. {
        let error = match operation().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let wanted = match error.trouble {
            Trouble::Unavailable | Trouble::RateLimited { retry_after: None } => jittered(pause),
            // One that asks for none is still not asked four times at once.
            Trouble::RateLimited { retry_after: Some(wanted) } => wanted.max(jittered(pause)),
            Trouble::NotFound | Trouble::Denied | Trouble::TagTaken | Trouble::Mismatch | Trouble::Other => {
                return Err(error);
            }
        };
        if attempt == ATTEMPTS || wanted > LONGEST_PAUSE {
            return Err(error);
        }
        tracing::debug!(error = %error, attempt, "trying a registry request again");
        tokio::time::sleep(wanted).await;
        pause *= 2;
    }
    unreachable!("the loop ends by returning")
}

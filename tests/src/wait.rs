//! Waiting for a condition, with a bound.

use std::time::Duration;

use anyhow::{Result, bail};

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(100);

/// Asks until the answer is there. What went wrong last, or that nothing came, is in the error.
pub async fn until<T, F, R>(what: &str, limit: Duration, ask: F) -> Result<T>
where
    F: Fn() -> R,
    R: Future<Output = Result<Option<T>>>,
{
    let end = tokio::time::Instant::now() + limit;
    loop {
        let last = match ask().await {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => "not yet".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        if tokio::time::Instant::now() >= end {
            bail!("waited {} s in vain for {what}: {last}", limit.as_secs());
        }
        tokio::time::sleep(STEP).await;
    }
}

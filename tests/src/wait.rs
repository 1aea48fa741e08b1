//! Waits for a condition, with a time limit.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::process::Component;

/// Interval between two polls.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Polls until a value is returned. The error contains the last failure or "not yet".
pub async fn until<T, F, R>(what: impl Into<String>, limit: Duration, poll: F) -> Result<T>
where
    F: Fn() -> R,
    R: Future<Output = Result<Option<T>>>,
{
    while_met(&what.into(), limit, || Ok(()), poll).await
}

/// Polls like [`until`], for a condition that depends on a component. Stops when the component ends; the
/// error contains the end of its log.
pub(crate) async fn until_component<T, F, R>(
    component: &mut Component,
    what: &str,
    limit: Duration,
    poll: F,
) -> Result<T>
where
    F: Fn() -> R,
    R: Future<Output = Result<Option<T>>>,
{
    let met = while_met(what, limit, || component.require_alive(), poll).await;
    met.with_context(|| component.log_tail())
}

/// Polls like [`until`], and stops when a requirement fails.
pub(crate) async fn while_met<T, A, F, R>(what: &str, limit: Duration, mut require: A, poll: F) -> Result<T>
where
    A: FnMut() -> Result<()>,
    F: Fn() -> R,
    R: Future<Output = Result<Option<T>>>,
{
    let end = tokio::time::Instant::now() + limit;
    loop {
        require()?;
        let last = match poll().await {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => "not yet".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        if tokio::time::Instant::now() >= end {
            bail!("waited {} s for {what}: {last}", limit.as_secs());
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

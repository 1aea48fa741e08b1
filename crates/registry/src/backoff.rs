//! Delays between attempts.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::Instant;

use crate::error_kind::ErrorKind;

/// Exponential backoff: `initial`, twice that, four times that, never more than `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Delay after the first failure, before jitter.
    pub initial: Duration,
    /// Longest delay, before jitter.
    pub max: Duration,
}

/// A [`Backoff`] with a limit for attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Delays between attempts. A registry that asks for a longer delay than `backoff.max` is left to the
    /// caller, so that no worker is held for that long.
    pub backoff: Backoff,
    /// Highest number of attempts, the first one included.
    pub attempts: u32,
}

/// A [`RetryPolicy`] with a limit of time: attempts that take long are fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedRetryPolicy {
    /// Delays and attempts.
    pub policy: RetryPolicy,
    /// Time from the first failure in which attempts begin.
    pub window: Duration,
}

/// Attempts to see a write of one's own. The last one begins at most 12 s after the first failure, and, if the
/// registry answers at once, at least 6 s after it. Registries with replicated storage show a tag, manifest or
/// blob only some time after they accepted it: a second (int128/docker-manifest-create-action#857), up to three
/// (openshift/image-registry#220), until the next run (estesp/manifest-tool#191). A defect is reported that much
/// later.
pub const OWN_WRITES: TimedRetryPolicy = TimedRetryPolicy {
    policy: RetryPolicy {
        backoff: Backoff { initial: Duration::from_millis(250), max: Duration::from_secs(4) },
        attempts: 7,
    },
    window: Duration::from_secs(12),
};

impl TimedRetryPolicy {
    /// As [`RetryPolicy::run`], within the window.
    pub async fn run<T, E, F, R>(
        self,
        attempt: F,
        kind: impl Fn(&E) -> ErrorKind,
        on_retry: impl Fn(&E),
    ) -> Result<T, E>
    where
        F: Fn() -> R,
        R: Future<Output = Result<T, E>>,
    {
        let first_failure = OnceLock::new();
        let kind = |error: &E| {
            let is_over = first_failure.get_or_init(Instant::now).elapsed() >= self.window;
            if is_over { ErrorKind::Other } else { kind(error) }
        };
        self.policy.run(attempt, kind, on_retry).await
    }

    /// As [`run`](Self::run), after an attempt that has just failed.
    pub(crate) async fn run_later<T, E, F, R>(
        self,
        attempt: F,
        kind: impl Fn(&E) -> ErrorKind,
        on_retry: impl Fn(&E),
    ) -> Result<T, E>
    where
        F: Fn() -> R,
        R: Future<Output = Result<T, E>>,
    {
        tokio::time::sleep(self.policy.backoff.delay(1)).await;
        self.run(attempt, kind, on_retry).await
    }
}

impl Backoff {
    /// Delay after failure number `failures` in a row (from 1), without jitter.
    pub fn exact(self, failures: u32) -> Duration {
        self.initial.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(self.max)
    }

    /// Delay after failure number `failures` in a row (from 1), with jitter: between half of the exact delay
    /// and all of it.
    pub fn delay(self, failures: u32) -> Duration {
        jittered(self.exact(failures))
    }
}

impl RetryPolicy {
    /// Runs `attempt` until it succeeds, fails for good, or has no attempts left. `kind` classifies an error;
    /// `on_retry` gets each error that another attempt follows, before the delay.
    pub async fn run<T, E, F, R>(
        self,
        attempt: F,
        kind: impl Fn(&E) -> ErrorKind,
        on_retry: impl Fn(&E),
    ) -> Result<T, E>
    where
        F: Fn() -> R,
        R: Future<Output = Result<T, E>>,
    {
        for number in 1.. {
            let error = match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let Some(delay) = self.delay_after(number, kind(&error)) else { return Err(error) };
            on_retry(&error);
            tokio::time::sleep(delay).await;
        }
        unreachable!("the loop ends by returning")
    }

    /// Delay before the next attempt, or `None` if another attempt is pointless or not allowed.
    pub fn delay_after(self, attempt: u32, kind: ErrorKind) -> Option<Duration> {
        let delay = match kind {
            ErrorKind::Unavailable | ErrorKind::RateLimited { retry_after: None } => {
                self.backoff.delay(attempt)
            }
            // A registry may ask for no delay at all, and must not be asked four times at once.
            ErrorKind::RateLimited { retry_after: Some(wanted) } => wanted.max(self.backoff.delay(attempt)),
            ErrorKind::NotFound
            | ErrorKind::Denied
            | ErrorKind::TagImmutable
            | ErrorKind::ContentMismatch
            | ErrorKind::Other => return None,
        };
        (attempt < self.attempts && delay <= self.backoff.max).then_some(delay)
    }
}

/// Shortens a delay at random to between its half and its whole, so that clients that failed together don't
/// return together.
pub fn jittered(delay: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 512;
    delay / 2 + delay / 2 * u32::try_from(random).unwrap_or(0) / 512
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        backoff: Backoff { initial: Duration::from_millis(400), max: Duration::from_secs(10) },
        attempts: 4,
    };

    #[test]
    fn jittered_delays_differ_between_half_and_whole() {
        let delay = Duration::from_secs(1);
        let delays: BTreeSet<Duration> = (0..200).map(|_| jittered(delay)).collect();
        assert!(delays.len() > 50, "{delays:?}");
        assert!(delays.iter().all(|one| (delay / 2..=delay).contains(one)), "{delays:?}");
    }

    #[test]
    fn backoff_doubles_up_to_its_maximum() {
        let delays = [1, 2, 3, 5, 6, u32::MAX].map(|failures| POLICY.backoff.exact(failures).as_millis());
        assert_eq!(delays, [400, 800, 1600, 6400, 10_000, 10_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_attempts_end_with_the_window() {
        // The attempt that begins within the window is the last one.
        for (seconds, expected) in [(0, 7), (5, 4), (300, 2)] {
            let attempts = AtomicUsize::new(0);
            let attempt = async || {
                attempts.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                Err::<(), _>(ErrorKind::Unavailable)
            };
            OWN_WRITES.run(attempt, |kind| *kind, |_| {}).await.unwrap_err();
            assert_eq!(attempts.into_inner(), expected, "{seconds}");
        }
    }

    #[test]
    fn retry_policy_follows_the_error_kind_and_the_attempts() {
        let after = |attempt, kind| POLICY.delay_after(attempt, kind);
        assert!(after(3, ErrorKind::Unavailable).is_some());
        assert_eq!(after(4, ErrorKind::Unavailable), None);
        for kind in [ErrorKind::NotFound, ErrorKind::Denied, ErrorKind::Other] {
            assert_eq!(after(1, kind), None, "{kind:?}");
        }
        let limited = |seconds| ErrorKind::RateLimited { retry_after: Some(Duration::from_secs(seconds)) };
        assert_eq!(after(1, limited(7)), Some(Duration::from_secs(7)));
        assert!(after(1, limited(0)).is_some_and(|delay| delay >= Duration::from_millis(200)));
        assert_eq!(after(1, limited(11)), None);
    }
}

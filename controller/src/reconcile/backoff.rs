//! Delays between attempts for one source.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use zstart_convert::ErrorClass;
use zstart_registry::Backoff;

/// Maximum delay that a registry's Retry-After can ask for. Without it one answer could stop the updates
/// of a record for good.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// Delay after failure number `failures` in a row, counted from 1. `recheck` is the setting
/// `recheckInterval`.
///
/// Only causes that pass by themselves are retried within minutes. A user who removes another cause starts a pod,
/// which asks for a look, or sets the annotation `zstart.dev/retry`.
pub(super) fn retry_delay(class: ErrorClass, failures: u32, recheck: Duration) -> Duration {
    let (seconds, minutes, hours) = (Duration::from_secs, Duration::from_mins, Duration::from_hours);
    let backoff = |initial, max| Backoff { initial, max }.exact(failures);
    match class {
        // A tag that moves faster than it converts must not keep a worker busy.
        ErrorClass::SourceMoved => backoff(seconds(1), minutes(10)),
        ErrorClass::Unavailable => backoff(seconds(5), minutes(5)),
        ErrorClass::RateLimited { retry_after: Some(delay) } => delay.min(MAX_RETRY_AFTER),
        // A user is likely fixing the cause: pushing the image, creating the pull secret.
        ErrorClass::NotFound | ErrorClass::PullDenied => backoff(seconds(5), hours(1)),
        ErrorClass::PushDenied => backoff(minutes(1), hours(1)),
        ErrorClass::RateLimited { retry_after: None } | ErrorClass::NotVerified | ErrorClass::Other => {
            backoff(seconds(30), hours(1))
        }
        // Only another image under the source's or the variant's tag changes these.
        ErrorClass::VariantConflict | ErrorClass::Refused => backoff(recheck, recheck.max(hours(1))),
        // Each attempt downloads the damaged blob again.
        ErrorClass::ContentMismatch => backoff(recheck, recheck.max(hours(12))),
    }
}

/// Delay after rejection number `rejections` in a row by the API server, counted from 1.
pub(super) fn api_retry_delay(rejections: u32) -> Duration {
    Backoff { initial: Duration::from_secs(5), max: Duration::from_mins(5) }.exact(rejections)
}

/// Jitter below a tenth of `delay`, constant for each record. Records that start together drift apart.
pub(super) fn jitter(delay: Duration, record: &str) -> Duration {
    let mut hasher = DefaultHasher::new();
    record.hash(&mut hasher);
    let thousandths = u32::try_from(hasher.finish() % 100).unwrap_or_default();
    delay / 1000 * thousandths
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECHECK: Duration = Duration::from_mins(5);

    #[test]
    fn delay_doubles_with_each_failure_up_to_its_max() {
        let delays: Vec<u64> = (1..=8)
            .map(|failures| retry_delay(ErrorClass::Unavailable, failures, RECHECK).as_secs())
            .collect();
        assert_eq!(delays, [5, 10, 20, 40, 80, 160, 300, 300]);
        for class in [ErrorClass::PullDenied, ErrorClass::VariantConflict, ErrorClass::Other] {
            assert_eq!(retry_delay(class, u32::MAX, RECHECK), Duration::from_hours(1), "{class:?}");
        }
    }

    #[test]
    fn retry_after_replaces_the_backoff() {
        let retry_after = Some(Duration::from_secs(77));
        let class = ErrorClass::RateLimited { retry_after };
        assert_eq!(retry_delay(class, 3, RECHECK), Duration::from_secs(77));
    }

    #[test]
    fn retry_after_is_capped_at_one_hour() {
        let class = ErrorClass::RateLimited { retry_after: Some(Duration::from_secs(u64::MAX)) };
        assert_eq!(retry_delay(class, 1, RECHECK), Duration::from_hours(1));
    }

    #[test]
    fn jitter_is_below_a_tenth_of_the_delay() {
        for record in ["a", "b", "nginx-1-27-0123456789abcdef"] {
            let jitter = jitter(RECHECK, record);
            assert!(jitter < RECHECK / 10, "{jitter:?}");
        }
        assert_ne!(jitter(RECHECK, "a"), jitter(RECHECK, "b"));
    }
}

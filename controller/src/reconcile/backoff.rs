//! How long to wait until a source is looked at again.

use std::hash::Hash as _;
use std::hash::{DefaultHasher, Hasher as _};
use std::time::Duration;

use zstart_convert::ErrorClass;

/// The longest pause that a registry is given. Nobody but zstart keeps a record's time.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// After the failure number `failures` in a row (from 1). `recheck` is the setting of that name.
pub(super) fn retry_delay(class: ErrorClass, failures: u32, recheck: Duration) -> Duration {
    let (seconds, minutes) = (Duration::from_secs, Duration::from_mins);
    match class {
        ErrorClass::SourceMoved => doubled(seconds(1), failures, minutes(1)),
        ErrorClass::Unavailable => doubled(seconds(5), failures, minutes(5)),
        ErrorClass::RateLimited { retry_after } => retry_after.map_or_else(
            || doubled(seconds(30), failures, minutes(10)),
            |wanted| wanted.min(MAX_RETRY_AFTER),
        ),
        // Somebody is likely at work on it: pushing the image, making the pull secret.
        ErrorClass::NotFound | ErrorClass::PullDenied | ErrorClass::PushDenied => {
            doubled(seconds(5), failures, minutes(10))
        }
        ErrorClass::Other => doubled(seconds(30), failures, minutes(10)),
        // Only another image under the tag, or another one at the variant's place, changes these.
        ErrorClass::ContentMismatch | ErrorClass::VariantConflict | ErrorClass::Refused => recheck,
    }
}

/// A part of a tenth of `delay`, the same for the same record: what began together drifts apart.
pub(super) fn jitter(delay: Duration, record: &str) -> Duration {
    let mut hasher = DefaultHasher::new();
    record.hash(&mut hasher);
    let part = u32::try_from(hasher.finish() % 100).unwrap_or_default();
    delay / 1000 * part
}

fn doubled(first: Duration, failures: u32, most: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(most)
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
        assert_eq!(retry_delay(ErrorClass::PullDenied, u32::MAX, RECHECK), Duration::from_mins(10));
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
        let delay = retry_delay(class, 1, RECHECK);
        assert_eq!(delay, Duration::from_hours(1));
    }

    #[test]
    fn jitter_is_below_a_tenth_of_the_delay() {
        for record in ["a", "b", "nginx-1-27-0123456789abcdef"] {
            let spread = jitter(RECHECK, record);
            assert!(spread < RECHECK / 10, "{spread:?}");
        }
        assert_ne!(jitter(RECHECK, "a"), jitter(RECHECK, "b"));
    }
}

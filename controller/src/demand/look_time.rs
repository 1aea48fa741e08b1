//! Time of a look at a source before its turn, because a pod template that uses the source changed.
//!
//! A user who pushes a tag again and restarts a workload wants the new image. The webhook leaves pods whose
//! template is newer than the last look, so a prompt look lets the rollout's later pods start from the variant.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Time that Kubernetes needs, after a workload's template changed, to create the ReplicaSet or revision whose
/// creation time the webhook compares.
const SETTLE: Duration = Duration::from_millis(250);
/// Distance to the boundary of a second, against rounding.
const MARGIN: Duration = Duration::from_millis(5);

/// Time of the look for a change that the watch reports at `now`, which is `clock` on the API server's clock.
///
/// Kubernetes keeps times in whole seconds. In the second of the change, a look can't be told from an
/// earlier one, so the look waits for the next second.
pub fn look_time(now: Instant, clock: Timestamp) -> Instant {
    let settled = clock.as_nanosecond() + i128::try_from(SETTLE.as_nanos()).unwrap_or_default();
    let elapsed = u64::try_from(settled.rem_euclid(1_000_000_000)).unwrap_or_default();
    now + SETTLE + Duration::from_secs(1).saturating_sub(Duration::from_nanos(elapsed)) + MARGIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_begins_in_the_second_after_the_change_has_settled() {
        let now = Instant::now();
        for (milliseconds, expected) in [(0_i64, 1000), (100, 900), (749, 251), (750, 1250), (999, 1001)] {
            let clock = Timestamp::from_millisecond(1_700_000_000_000 + milliseconds).unwrap();
            let delay = look_time(now, clock) - now;
            assert_eq!(delay, Duration::from_millis(expected) + MARGIN, "{milliseconds} ms");
        }
    }
}

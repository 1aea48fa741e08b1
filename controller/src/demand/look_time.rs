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

/// Time of a look, by two clocks.
#[derive(Clone, Copy, Debug)]
pub struct LookTime {
    /// Time of the look.
    pub instant: Instant,
    /// The same time on the API server's clock.
    pub clock: Timestamp,
}

impl LookTime {
    /// Time of the look for a change that the watch reports at `now`, which is `clock` on the API server's clock.
    ///
    /// Kubernetes keeps times in whole seconds. In the second of the change, a look can't be told from an
    /// earlier one, so the look waits for the next second.
    pub fn after_change(now: Instant, clock: Timestamp) -> Self {
        let settled = clock.as_nanosecond() + i128::try_from(SETTLE.as_nanos()).unwrap_or_default();
        let elapsed = u64::try_from(settled.rem_euclid(1_000_000_000)).unwrap_or_default();
        let delay = SETTLE + Duration::from_secs(1).saturating_sub(Duration::from_nanos(elapsed)) + MARGIN;
        Self { instant: now + delay, clock: clock + delay }
    }

    /// Time of the look for an object that was created in the second `created` of the API server's clock. `None`: too
    /// long ago for an [`Instant`].
    pub fn after_creation(self, created: Timestamp) -> Option<Instant> {
        // The object may have been created at the end of its second, and settles in the next one.
        let time = created + Duration::from_secs(2) + MARGIN;
        let age = self.clock.duration_since(time);
        if age.is_negative() {
            Some(self.instant + age.unsigned_abs())
        } else {
            self.instant.checked_sub(age.unsigned_abs())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_begins_in_the_second_after_the_change_has_settled() {
        let now = Instant::now();
        for (milliseconds, expected) in [(0_i64, 1000), (100, 900), (749, 251), (750, 1250), (999, 1001)] {
            let clock = Timestamp::from_millisecond(1_700_000_000_000 + milliseconds).unwrap();
            let look = LookTime::after_change(now, clock);
            let delay = Duration::from_millis(expected) + MARGIN;
            assert_eq!((look.instant - now, look.clock), (delay, clock + delay), "{milliseconds} ms");
        }
    }

    #[test]
    fn listed_object_is_looked_at_two_seconds_after_creation() {
        let (now, clock) = (Instant::now(), Timestamp::from_millisecond(1_700_000_000_300).unwrap());
        let look = LookTime::after_change(now, clock);
        let created = |second: i64| Timestamp::from_second(1_700_000_000 + second).unwrap();
        assert_eq!(look.after_creation(created(0)), Some(now + Duration::from_millis(1700) + MARGIN));
        let past = look.after_creation(created(-3)).unwrap();
        assert_eq!(now - past + MARGIN, Duration::from_millis(1300));
    }
}

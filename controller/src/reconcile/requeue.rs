//! The time at which each record is reconciled next.
//!
//! Every write of a status triggers a reconciliation, which must find out that nothing is due. The
//! attempts are memory, not state: after a restart every record is due at once.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use zstart_core::Digest;
use zstart_core::sync::lock;

/// The last attempt for each record, by the record's name.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    entries: Mutex<HashMap<String, Attempt>>,
}

/// Hash of inputs of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InputsHash(u64);

/// Inputs of an attempt, but for time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inputs {
    /// Record and platforms. When they change, the next attempt is due at once and verifies everything.
    pub(crate) image: InputsHash,
    /// Consumers and their credentials. When they change, an attempt that failed is repeated at once.
    pub(crate) access: InputsHash,
}

/// The last attempt for a record.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) inputs: Inputs,
    /// Time of the last request for the source's digest that the registry answered; the attempt's start if
    /// there was none.
    pub(crate) looked_at: Instant,
    /// Failure of the attempt, if it failed.
    pub(crate) failure: Option<Failure>,
    /// Present after a success, and after failures that followed it.
    pub(crate) last_verified: Option<LastVerified>,
}

/// Failure of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Failures in a row.
    pub(crate) count: u32,
    pub(crate) retry_at: Instant,
    /// The registry asked for a pause.
    pub(crate) is_rate_limited: bool,
}

/// A source digest, and the variant that was verified for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastVerified {
    pub(crate) source: Digest,
    /// `None` if the source needs no variant.
    pub(crate) variant: Option<VerifiedTag>,
}

/// A variant whose tag was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VerifiedTag {
    pub(crate) digest: Digest,
    pub(crate) checked_at: Instant,
}

/// Times at which a source is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// Interval between looks.
    pub(crate) interval: Duration,
    /// Look that a changed pod template asks for.
    pub(crate) requested: Option<Instant>,
    /// The source may name another image later. Otherwise a look finds nothing new, unless the last
    /// attempt failed.
    pub(crate) is_movable: bool,
}

impl InputsHash {
    pub(crate) fn of(inputs: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        inputs.hash(&mut hasher);
        Self(hasher.finish())
    }
}

impl Attempts {
    /// The last attempt for the same record and platforms.
    pub(crate) fn last(&self, record: &str, image: InputsHash) -> Option<Attempt> {
        let entries = lock(&self.entries);
        entries.get(record).filter(|attempt| attempt.inputs.image == image).cloned()
    }

    /// Replaces the last attempt.
    pub(crate) fn insert(&self, record: &str, attempt: Attempt) {
        lock(&self.entries).insert(record.to_owned(), attempt);
    }

    /// Drops the attempts of records that no longer exist.
    pub(crate) fn retain(&self, exists: impl Fn(&str) -> bool) {
        lock(&self.entries).retain(|record, _| exists(record));
    }
}

impl Attempt {
    /// Time of the next attempt, possibly in the past.
    pub(crate) fn due(&self, access: InputsHash, schedule: &Schedule) -> Instant {
        let requested = schedule.requested.filter(|time| *time > self.looked_at);
        let no_later_than = |time: Instant| requested.map_or(time, |requested| requested.min(time));
        match self.failure {
            None if schedule.is_movable => no_later_than(self.looked_at + schedule.interval),
            None => self.looked_at + schedule.interval,
            Some(_) if access != self.inputs.access => self.looked_at,
            Some(Failure { is_rate_limited: true, retry_at, .. }) => retry_at,
            Some(Failure { retry_at, .. }) => no_later_than(retry_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_mins(5);
    const SECOND: Duration = Duration::from_secs(1);

    fn inputs(record: &str, access: &str) -> Inputs {
        Inputs { image: InputsHash::of(record), access: InputsHash::of(access) }
    }

    fn attempt(looked_at: Instant, failure: Option<Failure>) -> Attempt {
        Attempt { inputs: inputs("uid", "secret"), looked_at, failure, last_verified: None }
    }

    fn schedule(requested: Option<Instant>) -> Schedule {
        Schedule { interval: INTERVAL, requested, is_movable: true }
    }

    #[test]
    fn attempt_is_dropped_when_the_record_changes() {
        let attempts = Attempts::default();
        attempts.insert("record", attempt(Instant::now(), None));
        assert!(attempts.last("record", InputsHash::of("uid")).is_some());
        assert!(attempts.last("record", InputsHash::of("another uid")).is_none());
        attempts.retain(|_| false);
        assert!(attempts.last("record", InputsHash::of("uid")).is_none());
    }

    #[test]
    fn requested_look_replaces_the_interval() {
        let now = Instant::now();
        let settled = attempt(now, None);
        let access = settled.inputs.access;
        for (requested, due) in [
            (None, INTERVAL),
            (Some(Duration::ZERO), INTERVAL),
            (Some(SECOND), SECOND),
            (Some(2 * INTERVAL), INTERVAL),
        ] {
            let schedule = schedule(requested.map(|delay| now + delay));
            assert_eq!(settled.due(access, &schedule) - now, due, "{requested:?}");
            let immovable = Schedule { is_movable: false, ..schedule };
            assert_eq!(settled.due(access, &immovable) - now, INTERVAL, "{requested:?}");
        }
    }

    #[test]
    fn failure_is_retried_early_unless_rate_limited() {
        let now = Instant::now();
        let failed = |is_rate_limited| {
            attempt(now, Some(Failure { count: 1, retry_at: now + INTERVAL, is_rate_limited }))
        };
        let access = failed(false).inputs.access;
        let requested = schedule(Some(now + SECOND));
        assert_eq!(failed(false).due(access, &schedule(None)) - now, INTERVAL);
        assert_eq!(failed(false).due(access, &requested) - now, SECOND);
        assert_eq!(failed(true).due(access, &requested) - now, INTERVAL);
        let immovable = Schedule { is_movable: false, ..requested };
        assert_eq!(failed(false).due(access, &immovable) - now, SECOND);
    }

    #[test]
    fn new_consumer_hurries_only_a_failed_attempt() {
        let now = Instant::now();
        let failure = Failure { count: 1, retry_at: now + INTERVAL, is_rate_limited: true };
        let access = InputsHash::of("another secret");
        assert_eq!(attempt(now, Some(failure)).due(access, &schedule(None)), now);
        assert_eq!(attempt(now, None).due(access, &schedule(None)), now + INTERVAL);
    }
}

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

/// Hash of an attempt's inputs. When they change, the next attempt is due at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InputsHash(u64);

/// The last attempt for a record.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) inputs: InputsHash,
    /// Time of the next attempt.
    pub(crate) next_due: Instant,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// Present after a success, and after failures that followed it.
    pub(crate) last_verified: Option<LastVerified>,
}

/// A source digest and the digest of the variant that was verified for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastVerified {
    pub(crate) source: Digest,
    pub(crate) variant: Digest,
}

/// The next attempt of a record that was just reconciled.
#[derive(Debug)]
pub(crate) struct Requeue {
    /// Delay until the next attempt.
    pub(crate) delay: Duration,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// Digests that the next attempt compares with.
    pub(crate) last_verified: Option<LastVerified>,
}

impl Requeue {
    /// The attempt to remember, at `now`.
    pub(crate) fn into_attempt(self, inputs: InputsHash, now: Instant) -> Attempt {
        let Self { delay, failures, last_verified } = self;
        Attempt { inputs, next_due: now + delay, failures, last_verified }
    }
}

impl InputsHash {
    pub(crate) fn of(inputs: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        inputs.hash(&mut hasher);
        Self(hasher.finish())
    }
}

impl Attempts {
    /// The last attempt with the same inputs.
    pub(crate) fn last(&self, record: &str, inputs: InputsHash) -> Option<Attempt> {
        let entries = lock(&self.entries);
        entries.get(record).filter(|attempt| attempt.inputs == inputs).cloned()
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
    /// Time until the next attempt; `None` when it is due.
    pub(crate) fn remaining(&self, now: Instant) -> Option<Duration> {
        self.next_due.checked_duration_since(now).filter(|remaining| !remaining.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempt_is_dropped_when_inputs_change() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let inputs = InputsHash::of(("uid", 1));
        let requeue = Requeue { delay: Duration::from_secs(5), failures: 2, last_verified: None };
        attempts.insert("record", requeue.into_attempt(inputs, now));
        let last = attempts.last("record", inputs).unwrap();
        assert_eq!((last.failures, last.remaining(now)), (2, Some(Duration::from_secs(5))));
        assert_eq!(last.remaining(now + Duration::from_secs(5)), None);
        assert!(attempts.last("record", InputsHash::of(("uid", 2))).is_none());
        attempts.retain(|_| false);
        assert!(attempts.last("record", inputs).is_none());
    }
}

//! When each record is looked at next.
//!
//! Every write of a status wakes the reconciler again, so it needs to know that nothing is due.
//! This is memory, not state: after a restart every record is due at once.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use zstart_core::Digest;
use zstart_core::sync::lock;

/// The next look at each record.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    entries: Mutex<HashMap<String, Attempt>>,
}

/// What an attempt was based on. Where that changes, the next one is due at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InputsHash(u64);

/// How the last look at a record ended.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) inputs: InputsHash,
    /// When the next one is due.
    pub(crate) next_due: Instant,
    /// How many failed in a row.
    pub(crate) failures: u32,
    /// What it found, where all was well.
    pub(crate) last_verified: Option<LastVerified>,
}

/// A source digest and the variant that was verified for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastVerified {
    pub(crate) source: Digest,
    pub(crate) variant: Digest,
}

impl InputsHash {
    pub(crate) fn of(all: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        all.hash(&mut hasher);
        Self(hasher.finish())
    }
}

impl Attempts {
    /// The last attempt on the same basis.
    pub(crate) fn last(&self, record: &str, inputs: InputsHash) -> Option<Attempt> {
        let entries = lock(&self.entries);
        entries.get(record).filter(|attempt| attempt.inputs == inputs).cloned()
    }

    /// Notes how an attempt ended.
    pub(crate) fn insert(&self, record: &str, attempt: Attempt) {
        lock(&self.entries).insert(record.to_owned(), attempt);
    }

    /// Forgets what isn't there any more.
    pub(crate) fn retain(&self, exists: impl Fn(&str) -> bool) {
        lock(&self.entries).retain(|record, _| exists(record));
    }
}

impl Attempt {
    /// How long it is until the next one; `None` when that is due.
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
        attempts.insert(
            "record",
            Attempt { inputs, next_due: now + Duration::from_secs(5), failures: 2, last_verified: None },
        );
        let last = attempts.last("record", inputs).unwrap();
        assert_eq!((last.failures, last.remaining(now)), (2, Some(Duration::from_secs(5))));
        assert_eq!(last.remaining(now + Duration::from_secs(5)), None);
        assert!(attempts.last("record", InputsHash::of(("uid", 2))).is_none());
        attempts.retain(|_| false);
        assert!(attempts.last("record", inputs).is_none());
    }
}

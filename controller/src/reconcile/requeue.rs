//! When each record is looked at next.
//!
//! Every write of a status wakes the reconciler again, so it needs to know that nothing is due.
//! This is memory, not state: after a restart every record is due at once.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use zstart_core::Digest;

/// The next look at each record.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    entries: Mutex<HashMap<String, Attempt>>,
}

/// What an attempt was based on. Where that changes, the next one is due at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Basis(u64);

/// How the last look at a record ended.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) basis: Basis,
    /// When the next one is due.
    pub(crate) next: Instant,
    /// How many failed in a row.
    pub(crate) failures: u32,
    /// What it found, where all was well.
    pub(crate) settled: Option<Settled>,
}

/// A source digest and the variant that was verified for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) source: Digest,
    pub(crate) variant: Digest,
}

impl Basis {
    pub(crate) fn of(all: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        all.hash(&mut hasher);
        Self(hasher.finish())
    }
}

impl Attempts {
    /// The last attempt on the same basis.
    pub(crate) fn last(&self, record: &str, basis: Basis) -> Option<Attempt> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(record).filter(|attempt| attempt.basis == basis).cloned()
    }

    /// Notes how an attempt ended.
    pub(crate) fn note(&self, record: &str, attempt: Attempt) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).insert(record.to_owned(), attempt);
    }

    /// Forgets what isn't there any more.
    pub(crate) fn keep_only(&self, exists: impl Fn(&str) -> bool) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).retain(|record, _| exists(record));
    }
}

impl Attempt {
    /// How long it is until the next one; `None` when that is due.
    pub(crate) fn rest(&self, now: Instant) -> Option<Duration> {
        self.next.checked_duration_since(now).filter(|rest| !rest.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_counts_until_its_basis_changes() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let basis = Basis::of(("uid", 1));
        attempts.note(
            "record",
            Attempt { basis, next: now + Duration::from_secs(5), failures: 2, settled: None },
        );
        let last = attempts.last("record", basis).unwrap();
        assert_eq!((last.failures, last.rest(now)), (2, Some(Duration::from_secs(5))));
        assert_eq!(last.rest(now + Duration::from_secs(5)), None);
        assert!(attempts.last("record", Basis::of(("uid", 2))).is_none());
        attempts.keep_only(|_| false);
        assert!(attempts.last("record", basis).is_none());
    }
}

//! The time at which each record is reconciled next.
//!
//! The attempts are memory. After a restart the records' statuses replace them.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher as _};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use zstart_core::Platform;
use zstart_core::record::{ImageConversionStatus, RecordReason};
use zstart_core::sweep::ConfirmationKey;
use zstart_core::sync::lock;

use super::backoff;
use super::verdict::{self, Verdict};

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
    /// Record. When it changes, the next attempt is due at once and verifies everything.
    pub(crate) image: InputsHash,
    /// Consumers and their credentials. When they change, an attempt that failed is repeated at once.
    pub(crate) access: InputsHash,
}

/// The last confirmation of a source's digest, or of the variant of a source that can't move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Confirmation {
    /// Record and digest of the source.
    pub(crate) key: ConfirmationKey,
    /// Time of the request, on the API server's clock.
    pub(crate) at: Timestamp,
}

/// The last attempt for a record.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) inputs: Inputs,
    /// Platforms that the verdict covers, or that the attempt took into account; `None`: all.
    pub(crate) platforms: Option<Arc<[Platform]>>,
    /// Registry of the source.
    pub(crate) registry: Arc<str>,
    /// The last confirmation that this process had, of this attempt or an earlier one.
    pub(crate) confirmation: Option<Confirmation>,
    /// Time of the last request for the source's digest that the registry answered; the attempt's start if
    /// there was none.
    pub(crate) looked_at: Instant,
    /// The source's tag can't move.
    pub(crate) is_immutable: bool,
    /// A pod couldn't pull the variant, and the record hasn't recovered.
    pub(crate) is_unhealthy: bool,
    /// The status offers a variant. It serves on if a platform couldn't be added, and its tag is looked at on time.
    pub(crate) is_serving: bool,
    /// Failure of the attempt, if it failed.
    pub(crate) failure: Option<Failure>,
    /// Present after a verdict, and after failures that followed it.
    pub(crate) verdict: Option<Verdict>,
    /// Present if the API server rejected the result.
    pub(crate) unwritten: Option<Unwritten>,
}

/// Failure of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: RecordReason,
    /// Failures in a row.
    pub(crate) count: u32,
    pub(crate) retry_at: Instant,
}

/// Result that the API server rejected.
#[derive(Clone, Debug)]
pub(crate) struct Unwritten {
    /// Status to write; `None` if the attempt ended before its result.
    pub(crate) status: Option<Box<ImageConversionStatus>>,
    /// Rejections in a row.
    pub(crate) count: u32,
    pub(crate) retry_at: Instant,
}

/// Last attempt for a record, as far as it counts.
#[derive(Clone, Debug)]
pub(crate) enum Last {
    /// This process made no attempt.
    None,
    /// The record or the platforms have changed since.
    Outdated,
    /// The attempt for the same record and platforms.
    Same(Box<Attempt>),
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

/// Time of the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// Possibly in the past.
    pub(crate) at: Instant,
    /// A changed pod template asks for the attempt.
    pub(crate) is_requested: bool,
}

impl Unwritten {
    /// The next rejection after `rejections` in a row.
    pub(super) fn after(rejections: u32, status: Option<Box<ImageConversionStatus>>) -> Self {
        let count = rejections.saturating_add(1);
        Self { status, count, retry_at: Instant::now() + backoff::api_retry_delay(count) }
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
    /// The last attempt for the record. `image` and `platforms` are the inputs of the next one.
    pub(crate) fn last(&self, record: &str, image: InputsHash, platforms: Option<&[Platform]>) -> Last {
        let covers = |attempt: &Attempt| verdict::covers(attempt.platforms.as_deref(), platforms);
        match lock(&self.entries).get(record) {
            None => Last::None,
            Some(attempt) if attempt.inputs.image != image || !covers(attempt) => Last::Outdated,
            Some(attempt) => Last::Same(Box::new(attempt.clone())),
        }
    }

    /// Returns whether there is an attempt for the record.
    pub(crate) fn contains(&self, record: &str) -> bool {
        lock(&self.entries).contains_key(record)
    }

    /// Calls `visit` with each record and its last attempt, under a lock.
    pub(crate) fn each(&self, mut visit: impl FnMut(&str, &Attempt)) {
        for (record, attempt) in &*lock(&self.entries) {
            visit(record, attempt);
        }
    }

    /// Number of attempts by reason: of the verdict, or of the failure without a verdict.
    pub(crate) fn reasons(&self) -> HashMap<RecordReason, usize> {
        let mut reasons = HashMap::new();
        for attempt in lock(&self.entries).values() {
            let failed = attempt.failure.map(|failure| failure.reason);
            let reason = attempt.verdict.as_ref().map(Verdict::reason).or(failed);
            *reasons.entry(reason.unwrap_or(RecordReason::Pending)).or_default() += 1;
        }
        reasons
    }

    /// Replaces the last attempt.
    pub(crate) fn insert(&self, record: &str, attempt: Attempt) {
        lock(&self.entries).insert(record.to_owned(), attempt);
    }

    /// Drops the attempt of a record that no longer exists.
    pub(crate) fn remove(&self, record: &str) {
        lock(&self.entries).remove(record);
    }
}

impl Attempt {
    /// An attempt of which only the time is known: that of an earlier process.
    pub(crate) fn unknown(inputs: Inputs, registry: Arc<str>, looked_at: Instant) -> Self {
        Self {
            inputs,
            platforms: None,
            registry,
            confirmation: None,
            looked_at,
            is_immutable: false,
            is_unhealthy: false,
            is_serving: false,
            failure: None,
            verdict: None,
            unwritten: None,
        }
    }

    /// Time of the next attempt.
    pub(crate) fn due(&self, access: InputsHash, schedule: &Schedule) -> Due {
        let routine = |at| Due { at, is_requested: false };
        let no_later_than = |at: Instant| {
            let requested = schedule.requested.filter(|time| *time > self.looked_at && *time < at);
            requested.map_or(routine(at), |at| Due { at, is_requested: true })
        };
        if let Some(Unwritten { retry_at, .. }) = self.unwritten {
            return routine(retry_at);
        }
        match self.failure {
            None if schedule.is_movable => no_later_than(self.looked_at + schedule.interval),
            None => routine(self.looked_at + schedule.interval),
            Some(_) if access != self.inputs.access => Due { at: self.looked_at, is_requested: true },
            // The registry asked for a pause.
            Some(Failure { reason: RecordReason::RateLimited, retry_at, .. }) => routine(retry_at),
            Some(Failure { retry_at, .. }) if self.is_serving && schedule.is_movable => {
                no_later_than(retry_at.min(self.looked_at + schedule.interval))
            }
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
        Attempt {
            looked_at,
            failure,
            ..Attempt::unknown(inputs("uid", "secret"), "r.example".into(), looked_at)
        }
    }

    fn schedule(requested: Option<Instant>) -> Schedule {
        Schedule { interval: INTERVAL, requested, is_movable: true }
    }

    #[test]
    fn attempt_is_dropped_when_the_record_changes() {
        let attempts = Attempts::default();
        attempts.insert("record", attempt(Instant::now(), None));
        assert!(matches!(attempts.last("record", InputsHash::of("uid"), None), Last::Same(_)));
        assert!(matches!(attempts.last("record", InputsHash::of("another uid"), None), Last::Outdated));
        attempts.remove("record");
        assert!(matches!(attempts.last("record", InputsHash::of("uid"), None), Last::None));
    }

    #[test]
    fn platform_that_left_keeps_the_attempt() {
        let [amd64, arm64] = ["amd64", "arm64"].map(|name| Platform::new("linux", name));
        let attempts = Attempts::default();
        let both = Some([amd64.clone(), arm64.clone()].into());
        attempts.insert("record", Attempt { platforms: both, ..attempt(Instant::now(), None) });
        let last = |platforms: Option<&[Platform]>| attempts.last("record", InputsHash::of("uid"), platforms);
        assert!(matches!(last(Some(&[arm64.clone(), amd64.clone()])), Last::Same(_)));
        assert!(matches!(last(Some(&[amd64])), Last::Same(_)));
        assert!(matches!(last(Some(&[arm64, Platform::new("linux", "s390x")])), Last::Outdated));
        assert!(matches!(last(None), Last::Outdated), "the setting changed");
    }

    #[test]
    fn requested_look_replaces_the_interval() {
        let now = Instant::now();
        let settled = attempt(now, None);
        let access = settled.inputs.access;
        for (requested, after) in [
            (None, INTERVAL),
            (Some(Duration::ZERO), INTERVAL),
            (Some(SECOND), SECOND),
            (Some(2 * INTERVAL), INTERVAL),
        ] {
            let schedule = schedule(requested.map(|delay| now + delay));
            let due = settled.due(access, &schedule);
            assert_eq!((due.at - now, due.is_requested), (after, after == SECOND), "{requested:?}");
            let immovable = Schedule { is_movable: false, ..schedule };
            assert_eq!(settled.due(access, &immovable).at - now, INTERVAL, "{requested:?}");
        }
    }

    #[test]
    fn failure_is_retried_early_unless_rate_limited() {
        let now = Instant::now();
        let failed = |reason| {
            let failure = Failure { reason, count: 1, retry_at: now + INTERVAL };
            attempt(now, Some(failure))
        };
        let (failed, limited) = (failed(RecordReason::SourceNotFound), failed(RecordReason::RateLimited));
        let access = failed.inputs.access;
        let requested = schedule(Some(now + SECOND));
        assert_eq!(failed.due(access, &schedule(None)).at - now, INTERVAL);
        assert_eq!(failed.due(access, &requested).at - now, SECOND);
        assert_eq!(limited.due(access, &requested).at - now, INTERVAL);
        let immovable = Schedule { is_movable: false, ..requested };
        assert_eq!(failed.due(access, &immovable).at - now, SECOND);
    }

    #[test]
    fn serving_variant_is_confirmed_despite_a_failure() {
        let now = Instant::now();
        let failure = Failure { reason: RecordReason::PushDenied, count: 1, retry_at: now + 9 * INTERVAL };
        let failed = attempt(now, Some(failure));
        let access = failed.inputs.access;
        assert_eq!(failed.due(access, &schedule(None)).at - now, 9 * INTERVAL);
        let serving = Attempt { is_serving: true, ..failed };
        assert_eq!(serving.due(access, &schedule(None)).at - now, INTERVAL);
        let immovable = Schedule { is_movable: false, ..schedule(None) };
        assert_eq!(serving.due(access, &immovable).at - now, 9 * INTERVAL);
    }

    #[test]
    fn new_consumer_hurries_only_a_failed_attempt() {
        let now = Instant::now();
        let failure = Failure { reason: RecordReason::RateLimited, count: 1, retry_at: now + INTERVAL };
        let access = InputsHash::of("another secret");
        assert_eq!(attempt(now, Some(failure)).due(access, &schedule(None)).at, now);
        assert_eq!(attempt(now, None).due(access, &schedule(None)).at, now + INTERVAL);
    }

    #[test]
    fn rejected_result_waits_for_the_api_server() {
        let now = Instant::now();
        let failure = Failure { reason: RecordReason::PullDenied, count: 1, retry_at: now };
        let unwritten = Unwritten { status: None, count: 1, retry_at: now + SECOND };
        let rejected = Attempt { unwritten: Some(unwritten), ..attempt(now, Some(failure)) };
        let due = rejected.due(InputsHash::of("another secret"), &schedule(Some(now)));
        assert_eq!(due, Due { at: now + SECOND, is_requested: false });
    }
}

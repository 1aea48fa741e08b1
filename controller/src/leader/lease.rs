//! Decisions about the Lease: a synchronous state machine, tested without an API server.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use tokio::time::Instant;

/// Durations of an election.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// Time without a change of the Lease after which another candidate may take it.
    pub(super) lease_duration: Duration,
    /// Time from the sending of the last successful renewal for which the leader works.
    pub(super) renew_deadline: Duration,
    /// Time between two attempts, before jitter.
    pub(super) retry_period: Duration,
    /// Limit of one request. client-go's is half of the renew deadline (`resourcelock/interface.go`), so that the
    /// leader has a second attempt.
    pub(super) request_limit: Duration,
}

impl Timing {
    /// The durations of Kubernetes' own components.
    pub(super) const DEFAULT: Self = Self {
        lease_duration: Duration::from_secs(15),
        renew_deadline: Duration::from_secs(10),
        retry_period: Duration::from_secs(2),
        request_limit: Duration::from_secs(5),
    };
}

/// The Lease as one process sees it.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Name of this process, unlike the name of any other one.
    identity: String,
    lease_duration: Duration,
    seen: Option<Seen>,
}

/// An observed Lease.
#[derive(Debug)]
struct Seen {
    lease: Lease,
    /// Time of the observation after which the content stayed equal.
    since: Instant,
}

/// Step of a process that wants to lead.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Create the Lease, which doesn't exist.
    Create(Lease),
    /// Replace the Lease, which has no holder any more.
    Take(Lease),
    /// Wait for the holder.
    Wait {
        /// Name of the holder.
        holder: String,
        /// Time at which the Lease expires unless it changes.
        until: Instant,
    },
}

impl Candidate {
    pub(super) fn new(identity: String, timing: Timing) -> Self {
        Self { identity, lease_duration: timing.lease_duration, seen: None }
    }

    /// Applies the Lease that the API server returned at `now`; `None` if there is none.
    pub(super) fn observe(&mut self, lease: Option<Lease>, now: Instant) {
        let unchanged = |lease: &Lease| {
            // Not the version: an annotation is no renewal.
            self.seen.as_ref().filter(|seen| seen.lease.spec == lease.spec).map(|seen| seen.since)
        };
        self.seen = lease.map(|lease| Seen { since: unchanged(&lease).unwrap_or(now), lease });
    }

    /// Name of the holder, if there is one.
    pub(super) fn holder(&self) -> Option<&str> {
        let spec = self.seen.as_ref()?.lease.spec.as_ref()?;
        spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())
    }

    /// Returns whether the Lease names this process.
    pub(super) fn is_holder(&self) -> bool {
        self.holder() == Some(&*self.identity)
    }

    /// Next step of a process that wants to lead. `clock` dates the Lease for readers.
    pub(super) fn step(&self, name: &str, now: Instant, clock: Timestamp) -> Step {
        let Some(Seen { lease, since }) = &self.seen else {
            let mut lease = Lease { spec: Some(self.spec(0, clock)), ..Lease::default() };
            lease.metadata.name = Some(name.to_owned());
            return Step::Create(lease);
        };
        let until = *since + self.duration_of(lease);
        match self.holder() {
            Some(holder) if holder != self.identity && now < until => {
                Step::Wait { holder: holder.to_owned(), until }
            }
            holder => {
                let former = lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or_default();
                // A lost answer to an own write is no change of the holder.
                let transitions =
                    if holder == Some(&*self.identity) { former } else { former.saturating_add(1) };
                Step::Take(Lease { spec: Some(self.spec(transitions, clock)), ..lease.clone() })
            }
        }
    }

    /// The Lease with a new time of renewal; `None` if this process doesn't hold it.
    pub(super) fn renewal(&self, clock: Timestamp) -> Option<Lease> {
        let mut lease = self.seen.as_ref().filter(|_| self.is_holder())?.lease.clone();
        let spec = lease.spec.get_or_insert_default();
        spec.renew_time = Some(MicroTime(clock));
        spec.lease_duration_seconds = Some(seconds(self.lease_duration));
        Some(lease)
    }

    /// The Lease without a holder; `None` if this process doesn't hold it.
    pub(super) fn release(&self, clock: Timestamp) -> Option<Lease> {
        let mut lease = self.renewal(clock)?;
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = None;
        // As client-go's: a candidate that ignores the empty holder waits for one second only.
        spec.lease_duration_seconds = Some(1);
        Some(lease)
    }

    fn spec(&self, transitions: i32, clock: Timestamp) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(seconds(self.lease_duration)),
            acquire_time: Some(MicroTime(clock)),
            renew_time: Some(MicroTime(clock)),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    /// Duration that the holder promised.
    fn duration_of(&self, lease: &Lease) -> Duration {
        let promised = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
        let promised =
            promised.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
        promised.map_or(self.lease_duration, Duration::from_secs)
    }
}

fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn candidate(identity: &str) -> Candidate {
        Candidate::new(identity.to_owned(), Timing::DEFAULT)
    }

    /// A time on another machine's clock, which may be wrong by years.
    fn clock(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn stored(step: Step) -> Lease {
        match step {
            Step::Create(mut lease) | Step::Take(mut lease) => {
                let version = lease.metadata.resource_version.take();
                let version = version.and_then(|version| version.parse().ok()).unwrap_or(0) + 1;
                lease.metadata.resource_version = Some(version.to_string());
                lease
            }
            Step::Wait { .. } => panic!("{step:?}"),
        }
    }

    fn transitions(lease: &Lease) -> Option<i32> {
        lease.spec.as_ref()?.lease_transitions
    }

    #[test]
    fn absent_lease_is_created_by_one_candidate() {
        let (mut one, mut other, now) = (candidate("one"), candidate("other"), Instant::now());
        let lease = stored(one.step("lock", now, clock(7)));
        assert_eq!(lease.metadata.name.as_deref(), Some("lock"));
        assert_eq!(transitions(&lease), Some(0));
        one.observe(Some(lease.clone()), now);
        other.observe(Some(lease), now);
        assert!(one.is_holder() && !other.is_holder());
        assert_eq!(other.holder(), Some("one"));
        let until = now + 15 * SECOND;
        assert_eq!(other.step("lock", now, clock(7)), Step::Wait { holder: "one".to_owned(), until });
    }

    #[test]
    fn lease_expires_by_the_observers_clock_alone() {
        let (leader, mut other, start) = (candidate("one"), candidate("other"), Instant::now());
        // Both ends of the representable time: the holder's clock counts for nothing.
        for holders_clock in [Timestamp::MIN, Timestamp::MAX] {
            let mut lease = stored(leader.step("lock", start, holders_clock));
            lease.metadata.resource_version = Some("41".to_owned());
            other.observe(Some(lease.clone()), start);
            // Seen again, unchanged: the time still counts from the first observation.
            other.observe(Some(lease), start + 10 * SECOND);
            let almost = start + 15 * SECOND - Duration::from_millis(1);
            assert!(matches!(other.step("lock", almost, clock(0)), Step::Wait { .. }));
            let Step::Take(taken) = other.step("lock", start + 15 * SECOND, clock(0)) else {
                panic!("the Lease has expired")
            };
            assert_eq!(taken.metadata.resource_version.as_deref(), Some("41"), "the write is conditional");
            assert_eq!(transitions(&taken), Some(1));
        }
    }

    #[test]
    fn renewal_extends_the_lease_and_an_annotation_does_not() {
        let (mut leader, mut other, start) = (candidate("one"), candidate("other"), Instant::now());
        let mut lease = stored(leader.step("lock", start, clock(1)));
        leader.observe(Some(lease.clone()), start);
        other.observe(Some(lease.clone()), start);
        lease.metadata.resource_version = Some("9".to_owned());
        lease.metadata.annotations = Some([("a".to_owned(), "b".to_owned())].into());
        other.observe(Some(lease), start + 9 * SECOND);
        assert!(matches!(other.step("lock", start + 15 * SECOND, clock(1)), Step::Take(_)));

        let renewed = leader.renewal(clock(2)).unwrap();
        assert_eq!(transitions(&renewed), Some(0));
        other.observe(Some(renewed), start + 14 * SECOND);
        assert!(matches!(other.step("lock", start + 28 * SECOND, clock(2)), Step::Wait { .. }));
        assert!(matches!(other.step("lock", start + 29 * SECOND, clock(2)), Step::Take(_)));
    }

    #[test]
    fn released_lease_is_taken_at_once() {
        let (mut leader, mut other, now) = (candidate("one"), candidate("other"), Instant::now());
        let lease = stored(leader.step("lock", now, clock(1)));
        leader.observe(Some(lease.clone()), now);
        other.observe(Some(lease), now);
        let released = leader.release(clock(2)).unwrap();
        assert_eq!(released.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref()), None);
        other.observe(Some(released), now);
        let taken = stored(other.step("lock", now, clock(2)));
        assert_eq!(transitions(&taken), Some(1));
        other.observe(Some(taken.clone()), now);
        leader.observe(Some(taken), now);
        assert!(other.is_holder());
        assert_eq!((leader.renewal(clock(3)), leader.release(clock(3))), (None, None));
    }

    #[test]
    fn own_lease_is_taken_again_after_a_lost_answer() {
        let (mut leader, now) = (candidate("one"), Instant::now());
        let lease = stored(leader.step("lock", now, clock(1)));
        leader.observe(Some(lease), now);
        let again = stored(leader.step("lock", now, clock(2)));
        assert_eq!(transitions(&again), Some(0));
    }

    #[test]
    fn promised_duration_of_the_holder_counts() {
        let (mut other, now) = (candidate("other"), Instant::now());
        for (promised, expected) in [(Some(60), 60), (Some(0), 15), (Some(-1), 15), (None, 15)] {
            let spec = LeaseSpec {
                holder_identity: Some("one".to_owned()),
                lease_duration_seconds: promised,
                ..LeaseSpec::default()
            };
            other.observe(Some(Lease { spec: Some(spec), ..Lease::default() }), now);
            let Step::Wait { until, .. } = other.step("lock", now, clock(1)) else { panic!("{promised:?}") };
            assert_eq!(until - now, expected * SECOND, "{promised:?}");
        }
        for vacant in [None, Some(LeaseSpec { holder_identity: Some(String::new()), ..LeaseSpec::default() })]
        {
            other.observe(Some(Lease { spec: vacant, ..Lease::default() }), now);
            assert!(matches!(other.step("lock", now, clock(1)), Step::Take(_)));
        }
    }
}

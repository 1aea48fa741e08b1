//! Circuit breaker: after failures in a row, a server gets one probe at a time until it answers again.

use std::time::Instant;

use zstart_registry::Backoff;

/// Circuit breaker of one server. Starts closed.
#[derive(Debug)]
pub(super) struct Breaker {
    /// Failures in a row that open the breaker.
    threshold: u32,
    backoff: Backoff,
    failures: u32,
    /// Time of the next probe; `None` while the breaker is closed.
    retry_at: Option<Instant>,
}

impl Breaker {
    /// Opens after `threshold` failures in a row. `backoff` gives the delays between probes.
    pub(super) fn new(threshold: u32, backoff: Backoff) -> Self {
        Self { threshold, backoff, failures: 0, retry_at: None }
    }

    /// Returns whether the server counts as unreachable.
    pub(super) fn is_open(&self) -> bool {
        self.retry_at.is_some()
    }

    /// Time from which a request may be sent. While the breaker is open and a request is `running`, that
    /// request's result decides first.
    pub(super) fn may_start_at(&self, now: Instant, running: usize) -> Option<Instant> {
        match self.retry_at {
            None => Some(now),
            Some(_) if running > 0 => None,
            Some(retry_at) => Some(retry_at),
        }
    }

    /// Records an answer of any kind. Returns whether the breaker was open.
    pub(super) fn record_answer(&mut self) -> bool {
        self.failures = 0;
        self.retry_at.take().is_some()
    }

    /// Records a request without an answer. Returns whether the breaker opened just now.
    pub(super) fn record_failure(&mut self, now: Instant) -> bool {
        // Requests that began before the breaker opened fail later, and don't postpone the probe.
        if self.retry_at.is_some_and(|retry_at| retry_at > now) {
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures < self.threshold {
            return false;
        }
        let probes = self.failures - self.threshold + 1;
        self.retry_at.replace(now + self.backoff.exact(probes)).is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> Breaker {
        Breaker::new(3, Backoff { initial: 5 * SECOND, max: 20 * SECOND })
    }

    #[test]
    fn failures_in_a_row_open_the_breaker() {
        let (mut breaker, now) = (breaker(), Instant::now());
        assert!(!breaker.record_failure(now) && !breaker.record_failure(now));
        assert!(!breaker.record_answer());
        assert!(!breaker.record_failure(now) && !breaker.record_failure(now) && breaker.record_failure(now));
        assert!(breaker.is_open());
        assert_eq!(breaker.may_start_at(now, 0), Some(now + 5 * SECOND));
    }

    #[test]
    fn open_breaker_permits_one_probe_at_a_time() {
        let (mut breaker, now) = (breaker(), Instant::now());
        for _ in 0..3 {
            breaker.record_failure(now);
        }
        assert_eq!(breaker.may_start_at(now + 6 * SECOND, 1), None);
        assert!(breaker.record_answer());
        assert_eq!(breaker.may_start_at(now, 9), Some(now));
    }

    #[test]
    fn probes_back_off_up_to_the_max() {
        let (mut breaker, start) = (breaker(), Instant::now());
        let mut now = start;
        let mut delays = Vec::new();
        for _ in 0..2 {
            breaker.record_failure(now);
        }
        for _ in 0..4 {
            breaker.record_failure(now);
            let next = breaker.may_start_at(now, 0).unwrap();
            delays.push((next - now).as_secs());
            now = next;
        }
        assert_eq!(delays, [5, 10, 20, 20]);
    }

    #[test]
    fn late_failures_do_not_postpone_the_probe() {
        let (mut breaker, now) = (breaker(), Instant::now());
        for _ in 0..8 {
            breaker.record_failure(now);
        }
        assert_eq!(breaker.may_start_at(now, 0), Some(now + 5 * SECOND));
        breaker.record_failure(now + 5 * SECOND);
        assert_eq!(breaker.may_start_at(now, 0), Some(now + 15 * SECOND));
    }
}

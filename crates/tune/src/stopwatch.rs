//! Stopwatch of a thread's processor time. Waiting for bytes or for a busy core doesn't count.

use std::cell::Cell;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Stopwatch of the thread that created it.
pub(super) struct Stopwatch {
    /// The thread's processor time at the last start.
    since: Cell<Duration>,
    total: Cell<Duration>,
}

impl Stopwatch {
    /// Returns a running stopwatch.
    pub(super) fn started() -> Self {
        Self { since: Cell::new(processor_time()), total: Cell::new(Duration::ZERO) }
    }

    /// Runs `work` without counting its time.
    pub(super) fn pause<T>(&self, work: impl FnOnce() -> T) -> T {
        self.total.set(self.total());
        let result = work();
        self.since.set(processor_time());
        result
    }

    /// The time that was counted so far. The stopwatch continues.
    pub(super) fn total(&self) -> Duration {
        self.total.get() + processor_time().saturating_sub(self.since.get())
    }

    /// The time since the start or the last lap.
    pub(super) fn lap(&self) -> Duration {
        let now = processor_time();
        now.saturating_sub(self.since.replace(now))
    }
}

fn processor_time() -> Duration {
    // Processor time is never negative.
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

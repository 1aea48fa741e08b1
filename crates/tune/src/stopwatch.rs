//! A thread's own processor time: waiting for bytes, or for a core that others have, doesn't count.

use std::cell::Cell;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Counts the time of the thread that made it, whenever it runs.
pub(super) struct Stopwatch {
    /// The thread's time when it was started.
    since: Cell<Duration>,
    total: Cell<Duration>,
}

impl Stopwatch {
    /// One that runs.
    pub(super) fn started() -> Self {
        Self { since: Cell::new(processor_time()), total: Cell::new(Duration::ZERO) }
    }

    /// What was counted in all, without what `work` takes, which is done now.
    pub(super) fn pause<T>(&self, work: impl FnOnce() -> T) -> T {
        self.total.set(self.total());
        let result = work();
        self.since.set(processor_time());
        result
    }

    /// What was counted so far. It runs on.
    pub(super) fn total(&self) -> Duration {
        self.total.get() + processor_time().saturating_sub(self.since.get())
    }

    /// What was counted since this was asked last.
    pub(super) fn lap(&self) -> Duration {
        let now = processor_time();
        now.saturating_sub(self.since.replace(now))
    }
}

fn processor_time() -> Duration {
    // A time that was counted is never negative.
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

//! The time until which this process leads.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Leadership of this process. Clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Leadership(Arc<watch::Sender<State>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The Lease wasn't read yet.
    Unknown,
    /// Another process leads, or no process.
    Standby,
    /// This process leads until then.
    Leads { until: Instant },
    /// This process led, and doesn't lead again.
    Over,
}

impl Default for Leadership {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(State::Unknown)))
    }
}

impl Leadership {
    /// Returns whether this process leads now.
    pub(crate) fn is_current(&self) -> bool {
        self.until().is_some_and(|until| Instant::now() < until)
    }

    /// Returns whether the Lease was read.
    pub(crate) fn is_known(&self) -> bool {
        *self.0.borrow() != State::Unknown
    }

    /// End of the leadership, possibly in the past.
    pub(super) fn until(&self) -> Option<Instant> {
        match *self.0.borrow() {
            State::Leads { until } => Some(until),
            State::Unknown | State::Standby | State::Over => None,
        }
    }

    /// Notes that another process leads.
    pub(super) fn stand_by(&self) {
        self.0.send_if_modified(|state| {
            let is_first = *state == State::Unknown;
            if is_first {
                *state = State::Standby;
            }
            is_first
        });
    }

    /// Begins or extends the leadership. A process whose leadership is over stays without.
    pub(super) fn extend(&self, until: Instant) {
        self.0.send_if_modified(|state| {
            let is_open = *state != State::Over;
            if is_open {
                *state = State::Leads { until };
            }
            is_open
        });
    }

    /// Ends the leadership for good.
    pub(super) fn end(&self) {
        self.0.send_replace(State::Over);
    }

    /// Waits until this process leads. Never ready if it never does.
    pub(crate) async fn begun(&self) {
        let mut changes = self.0.subscribe();
        // The sender exists as long as `self`.
        let _ = changes.wait_for(|state| matches!(state, State::Leads { .. })).await;
    }

    /// Waits until this process doesn't lead. Each poll compares the clock itself: the timer of a process that was
    /// paused may be late.
    pub(super) async fn ended(&self) {
        let mut changes = self.0.subscribe();
        while let Some(until) = self.until().filter(|until| Instant::now() < *until) {
            tokio::select! {
                () = sleep_until(until) => {}
                // The sender exists as long as `self`.
                _ = changes.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn leadership_ends_by_the_clock_unless_it_is_extended() {
        let leadership = Leadership::default();
        assert!(!leadership.is_current() && !leadership.is_known());
        leadership.stand_by();
        assert!(!leadership.is_current() && leadership.is_known());
        assert!(leadership.begun().now_or_never().is_none());
        let start = Instant::now();
        leadership.extend(start + Duration::from_secs(10));
        assert!(leadership.is_current());
        assert!(leadership.begun().now_or_never().is_some());
        let renewed = async {
            tokio::time::sleep(Duration::from_secs(9)).await;
            leadership.extend(start + Duration::from_secs(19));
        };
        tokio::join!(leadership.ended(), renewed);
        assert_eq!(start.elapsed().as_secs(), 19);
        assert!(!leadership.is_current());
    }

    #[tokio::test(start_paused = true)]
    async fn ended_leadership_stays_ended() {
        let leadership = Leadership::default();
        leadership.extend(Instant::now() + Duration::from_secs(10));
        leadership.end();
        leadership.ended().await;
        leadership.extend(Instant::now() + Duration::from_secs(10));
        leadership.stand_by();
        assert!(!leadership.is_current());
    }
}

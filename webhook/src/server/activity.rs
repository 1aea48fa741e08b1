//! Activity of a connection. An idle connection occupies one of a limited number of permits.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Requests of one connection.
#[derive(Clone)]
pub(super) struct Activity(watch::Sender<Requests>);

#[derive(Clone, Copy)]
struct Requests {
    /// Number of requests without a response.
    in_flight: usize,
    /// Time of the last response, or of the connection's start if there was no response.
    idle_since: Instant,
    /// The connection has received a request.
    received_any: bool,
}

impl Default for Activity {
    fn default() -> Self {
        Self(watch::Sender::new(Requests { in_flight: 0, idle_since: Instant::now(), received_any: false }))
    }
}

impl Activity {
    /// Returns once no first request arrives within `first`, or no further request within `between`.
    pub(super) async fn wait_until_idle(&self, first: Duration, between: Duration) {
        let mut requests = self.0.subscribe();
        loop {
            let Requests { in_flight, idle_since, received_any } = *requests.borrow_and_update();
            let end = idle_since + if received_any { between } else { first };
            tokio::select! {
                () = sleep_until(end), if in_flight == 0 => return,
                // `self` holds the sender, so the channel stays open.
                _ = requests.changed() => {}
            }
        }
    }
}

/// Counts a request as in flight until its response is sent or the request is dropped.
pub(super) async fn track(State(activity): State<Activity>, request: Request, next: Next) -> Response {
    activity.0.send_modify(|requests| {
        requests.in_flight += 1;
        requests.received_any = true;
    });
    let _in_flight = InFlight(activity);
    next.run(request).await
}

struct InFlight(Activity);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.send_modify(|requests| {
            requests.in_flight -= 1;
            requests.idle_since = Instant::now();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(5);
    const BETWEEN: Duration = Duration::from_mins(3);

    #[tokio::test(start_paused = true)]
    async fn idle_timeouts_apply_before_and_between_requests() {
        let (activity, started) = (Activity::default(), Instant::now());
        activity.wait_until_idle(FIRST, BETWEEN).await;
        assert!((FIRST..FIRST * 2).contains(&started.elapsed()));

        let (activity, started) = (Activity::default(), Instant::now());
        activity.0.send_modify(|requests| (requests.in_flight, requests.received_any) = (1, true));
        let open = InFlight(activity.clone());
        let still_open = tokio::time::timeout(BETWEEN * 2, activity.wait_until_idle(FIRST, BETWEEN)).await;
        assert!(still_open.is_err(), "a connection with a request in flight isn't idle");
        drop(open);
        activity.wait_until_idle(FIRST, BETWEEN).await;
        assert!((BETWEEN * 3..BETWEEN * 4).contains(&started.elapsed()));
    }
}

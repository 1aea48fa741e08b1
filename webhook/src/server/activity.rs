//! Whether a connection is used: one that isn't takes a place from others.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// The requests of one connection.
#[derive(Clone)]
pub(super) struct Activity(watch::Sender<Requests>);

#[derive(Clone, Copy)]
struct Requests {
    /// How many have no answer yet.
    open: usize,
    /// When the last one got it, or when the connection was made.
    since: Instant,
    /// Whether there was one at all.
    any: bool,
}

impl Default for Activity {
    fn default() -> Self {
        Self(watch::Sender::new(Requests { open: 0, since: Instant::now(), any: false }))
    }
}

impl Activity {
    /// Ends when no request has come within `first`, or none for as long as `between`.
    pub(super) async fn idle(&self, first: Duration, between: Duration) {
        let mut requests = self.0.subscribe();
        loop {
            let Requests { open, since, any } = *requests.borrow_and_update();
            let end = since + if any { between } else { first };
            tokio::select! {
                () = sleep_until(end), if open == 0 => return,
                // `self` holds the sender, so this can't fail.
                _ = requests.changed() => {}
            }
        }
    }
}

/// Notes a request, until it is answered or given up.
pub(super) async fn track(State(activity): State<Activity>, request: Request, next: Next) -> Response {
    activity.0.send_modify(|requests| {
        requests.open += 1;
        requests.any = true;
    });
    let _open = Open(activity);
    next.run(request).await
}

struct Open(Activity);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.send_modify(|requests| {
            requests.open -= 1;
            requests.since = Instant::now();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(5);
    const BETWEEN: Duration = Duration::from_mins(3);

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_without_a_first_request_and_later_without_another_one() {
        let (activity, started) = (Activity::default(), Instant::now());
        activity.idle(FIRST, BETWEEN).await;
        assert!((FIRST..FIRST * 2).contains(&started.elapsed()));

        let (activity, started) = (Activity::default(), Instant::now());
        activity.0.send_modify(|requests| (requests.open, requests.any) = (1, true));
        let open = Open(activity.clone());
        let still_open = tokio::time::timeout(BETWEEN * 2, activity.idle(FIRST, BETWEEN)).await;
        assert!(still_open.is_err(), "a request that waits for its answer isn't idleness");
        drop(open);
        activity.idle(FIRST, BETWEEN).await;
        assert!((BETWEEN * 3..BETWEEN * 4).contains(&started.elapsed()));
    }
}

//! Permits for conversions, in the order of fairness and gain.
//!
//! The namespaces take turns. In a namespace, the image with the most bytes is first, because its pods gain most.
//! A registry that has a conversion running yields to one that has none, so that a slow registry doesn't hold
//! every permit.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use zstart_core::sync::lock;

/// Time of waiting after which size no longer counts: a small image must not wait while larger ones arrive.
const MAX_WAIT: Duration = Duration::from_mins(10);

/// A conversion that waits for a permit.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) registry: String,
    /// Namespace of a consumer.
    pub(crate) namespace: String,
    /// Compressed size of the source's layers.
    pub(crate) bytes: u64,
}

/// Permits for conversions.
#[derive(Clone, Debug)]
pub(crate) struct ConversionPermits(Arc<Mutex<State>>);

/// Permit for one conversion. Returned when it is dropped.
#[derive(Debug)]
pub(crate) struct ConversionPermit {
    /// `None`: nothing is returned.
    permits: Option<ConversionPermits>,
    registry: String,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// Waiting requests, in the order of arrival.
    waiting: BTreeMap<u64, Waiting>,
    arrivals: u64,
    /// Running conversions by registry.
    running: HashMap<String, usize>,
    /// Number of each namespace's last turn.
    turns: HashMap<String, u64>,
    turn: u64,
}

#[derive(Debug)]
struct Waiting {
    request: Request,
    since: Instant,
    grant: oneshot::Sender<ConversionPermit>,
}

impl ConversionPermits {
    /// Permits `max` concurrent conversions.
    pub(crate) fn new(max: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            free: max,
            waiting: BTreeMap::new(),
            arrivals: 0,
            running: HashMap::new(),
            turns: HashMap::new(),
            turn: 0,
        })))
    }

    /// Waits for a permit. A caller that stops waiting leaves the queue.
    pub(crate) async fn acquire(&self, request: Request) -> ConversionPermit {
        let (grant, granted) = oneshot::channel();
        {
            let mut state = lock(&self.0);
            let number = state.arrivals;
            state.arrivals += 1;
            state.waiting.insert(number, Waiting { request, since: Instant::now(), grant });
            state.grant(self);
        }
        let Ok(permit) = granted.await else {
            unreachable!("a request leaves the queue with its permit, or because its caller is gone")
        };
        permit
    }

    /// Number of conversions that wait.
    pub(crate) fn waiting(&self) -> usize {
        let mut state = lock(&self.0);
        state.waiting.retain(|_, waiting| !waiting.grant.is_closed());
        state.waiting.len()
    }
}

impl Drop for ConversionPermit {
    fn drop(&mut self) {
        let Some(permits) = self.permits.take() else { return };
        let mut state = lock(&permits.0);
        state.release(&self.registry);
        state.grant(&permits);
    }
}

impl State {
    /// Grants free permits.
    fn grant(&mut self, permits: &ConversionPermits) {
        while self.free > 0
            && let Some(number) = self.choose(Instant::now())
            && let Some(Waiting { request: Request { registry, namespace, .. }, grant, .. }) =
                self.waiting.remove(&number)
        {
            let permit = ConversionPermit { permits: Some(permits.clone()), registry: registry.clone() };
            if let Err(mut permit) = grant.send(permit) {
                // The caller stopped waiting. The state is locked, so the permit can't return itself.
                permit.permits = None;
                continue;
            }
            self.free -= 1;
            *self.running.entry(registry).or_default() += 1;
            self.turn += 1;
            self.turns.insert(namespace, self.turn);
        }
        if self.waiting.is_empty() && self.running.is_empty() {
            self.turns.clear();
        }
    }

    /// Number of the request whose turn it is.
    fn choose(&self, now: Instant) -> Option<u64> {
        let rank = |(number, waiting): (&u64, &Waiting)| {
            let Request { registry, namespace, bytes } = &waiting.request;
            let is_overdue = now.duration_since(waiting.since) > MAX_WAIT;
            let gain = if is_overdue { 0 } else { u64::MAX - bytes };
            let running = self.running.get(registry).copied().unwrap_or_default();
            let turn = self.turns.get(namespace).copied().unwrap_or_default();
            (running > 0, turn, gain, *number)
        };
        self.waiting.iter().min_by_key(|entry| rank(*entry)).map(|(number, _)| *number)
    }

    fn release(&mut self, registry: &str) {
        self.free += 1;
        if let Some(running) = self.running.get_mut(registry) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(registry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use futures::FutureExt as _;

    use super::*;

    type Pending = Pin<Box<dyn Future<Output = ConversionPermit>>>;

    fn request(registry: &str, namespace: &str, bytes: u64) -> Request {
        Request { registry: registry.to_owned(), namespace: namespace.to_owned(), bytes }
    }

    /// Starts to wait.
    fn wait(permits: &ConversionPermits, request: Request) -> Pending {
        let permits = permits.clone();
        let mut pending: Pending = Box::pin(async move { permits.acquire(request).await });
        assert!((&mut pending).now_or_never().is_none(), "a permit was free");
        pending
    }

    /// Bytes in the order in which permits are granted, one at a time.
    fn order(mut pending: Vec<(u64, Pending)>, first: ConversionPermit) -> Vec<u64> {
        let mut held = Some(first);
        let mut order = Vec::new();
        while !pending.is_empty() {
            drop(held.take());
            let granted = pending.iter_mut().enumerate().find_map(|(at, (bytes, pending))| {
                pending.as_mut().now_or_never().map(|permit| (at, *bytes, permit))
            });
            let (at, bytes, permit) = granted.expect("no permit was granted");
            held = Some(permit);
            order.push(bytes);
            drop(pending.remove(at));
        }
        order
    }

    #[tokio::test(start_paused = true)]
    async fn namespaces_take_turns_and_large_images_are_first() {
        let permits = ConversionPermits::new(1);
        let first = permits.acquire(request("r", "a", 1)).await;
        let waiting = [("a", 10), ("a", 30), ("a", 20), ("b", 5), ("b", 7), ("c", 1)];
        let pending =
            waiting.map(|(namespace, bytes)| (bytes, wait(&permits, request("r", namespace, bytes))));
        assert_eq!(permits.waiting(), 6);
        assert_eq!(order(pending.into(), first), [7, 1, 30, 5, 20, 10]);
    }

    #[tokio::test(start_paused = true)]
    async fn size_does_not_count_after_ten_minutes() {
        let permits = ConversionPermits::new(1);
        let first = permits.acquire(request("r", "a", 1)).await;
        let small = (1, wait(&permits, request("r", "a", 1)));
        tokio::time::advance(MAX_WAIT + Duration::from_secs(1)).await;
        let large = (9, wait(&permits, request("r", "a", 9)));
        assert_eq!(order(vec![large, small], first), [1, 9]);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_registry_yields_to_an_idle_one() {
        let permits = ConversionPermits::new(2);
        let _slow = permits.acquire(request("slow", "a", 1)).await;
        let first = permits.acquire(request("fast", "a", 1)).await;
        let large = (9, wait(&permits, request("slow", "b", 9)));
        let small = (1, wait(&permits, request("fast", "a", 1)));
        assert_eq!(order(vec![large, small], first), [1, 9]);
    }

    #[tokio::test(start_paused = true)]
    async fn abandoned_request_takes_no_permit() {
        let permits = ConversionPermits::new(1);
        let first = permits.acquire(request("r", "a", 1)).await;
        drop(wait(&permits, request("r", "a", 9)));
        let granted = wait(&permits, request("r", "a", 5));
        let mut next = wait(&permits, request("r", "a", 1));
        assert_eq!(permits.waiting(), 2);
        drop(first);
        // The permit was granted, and the caller never took it.
        drop(granted);
        assert!((&mut next).now_or_never().is_some());
    }
}

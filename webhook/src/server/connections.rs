//! Open connections, at most a fixed number. At the limit, a new connection replaces one that waits for its
//! client. Clients that hold connections without using them can't keep an API server out.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;
use zstart_core::sync::lock;

use super::activity::Activity;

/// Longest wait for the end of a connection before another one is evicted.
const EVICTION_TIMEOUT: Duration = Duration::from_millis(50);

/// Open connections of a server.
#[derive(Debug)]
pub(super) struct Connections {
    limit: usize,
    open: Mutex<HashMap<u64, Open>>,
    next_id: AtomicU64,
    /// Notified when a connection ends.
    ended: Notify,
}

#[derive(Debug)]
struct Open {
    peer: IpAddr,
    activity: Arc<Activity>,
}

/// Permission for one open connection, until dropped.
#[derive(Debug)]
pub(super) struct Slot {
    connections: Arc<Connections>,
    id: u64,
    pub(super) activity: Arc<Activity>,
}

impl Connections {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, open: Mutex::default(), next_id: AtomicU64::new(0), ended: Notify::new() })
    }

    /// Waits for a slot. Evicts connections if there is none.
    pub(super) async fn admit(self: &Arc<Self>, peer: IpAddr) -> Slot {
        loop {
            if let Some(slot) = self.try_admit(peer) {
                return slot;
            }
            if let Some(victim) = self.victim() {
                tracing::debug!(limit = self.limit, "closing a connection: the limit is reached");
                victim.evict();
            }
            // If all connections are at work, one of them is done soon.
            let _ = timeout(EVICTION_TIMEOUT, self.ended.notified()).await;
        }
    }

    fn try_admit(self: &Arc<Self>, peer: IpAddr) -> Option<Slot> {
        let mut open = lock(&self.open);
        if open.len() >= self.limit {
            return None;
        }
        let (id, activity) = (self.next_id.fetch_add(1, Ordering::Relaxed), Arc::default());
        open.insert(id, Open { peer, activity: Arc::clone(&activity) });
        Some(Slot { connections: Arc::clone(self), id, activity })
    }

    /// Connection that has waited longest for its client, of the peer with the most connections. An API server
    /// has some dozens, so a peer that fills the limit loses its own connections.
    fn victim(&self) -> Option<Arc<Activity>> {
        let open = lock(&self.open);
        let mut per_peer = HashMap::<IpAddr, usize>::new();
        for connection in open.values() {
            *per_peer.entry(connection.peer).or_default() += 1;
        }
        let evictable =
            open.values().filter_map(|open| open.activity.evictable_since().map(|since| (since, open)));
        let (_, open) =
            evictable.max_by_key(|(since, open)| (per_peer.get(&open.peer).copied(), Reverse(*since)))?;
        Some(Arc::clone(&open.activity))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.connections.open).remove(&self.id);
        self.connections.ended.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const API_SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    /// Opens a connection. Time passes between two connections.
    async fn open(connections: &Arc<Connections>, peer: IpAddr) -> Slot {
        tokio::time::advance(Duration::from_secs(1)).await;
        connections.admit(peer).await
    }

    #[tokio::test(start_paused = true)]
    async fn peer_with_most_connections_loses_its_oldest() {
        let connections = Connections::new(4);
        let first = open(&connections, API_SERVER).await;
        let strangers = [
            open(&connections, STRANGER).await,
            open(&connections, STRANGER).await,
            open(&connections, STRANGER).await,
        ];
        tokio::time::advance(Duration::from_secs(1)).await;
        // A request restarts the wait; a response in progress is never cut.
        strangers[0].activity.received_head();
        strangers[1].activity.received_body();
        assert!(Arc::ptr_eq(&connections.victim().unwrap(), &strangers[2].activity));

        let (mut waiting, evicted) = (Box::pin(connections.admit(API_SERVER)), &strangers[2].activity);
        tokio::select! {
            _ = &mut waiting => panic!("admitted beyond the limit"),
            () = evicted.evicted() => {}
        }
        assert!(!first.activity.is_evicted());
        drop(strangers);
        waiting.await;
    }

    #[tokio::test(start_paused = true)]
    async fn connections_at_work_are_waited_for() {
        let connections = Connections::new(1);
        let busy = open(&connections, STRANGER).await;
        busy.activity.received_body();
        assert!(connections.victim().is_none());
        let waiting = tokio::spawn({
            let connections = Arc::clone(&connections);
            async move { connections.admit(API_SERVER).await }
        });
        // The response was sent, and the connection waits for the next request.
        busy.activity.connected();
        busy.activity.evicted().await;
        drop(busy);
        waiting.await.unwrap();
    }
}

//! The demand, shared between the watches that fill it and its readers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{Stream, stream};
use tokio::sync::watch;
use zstart_core::sync::lock;

use super::{Changed, Demand};

/// Delay from a change to its notification. A rollout changes many objects at once.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// A demand behind a lock, which notifies subscribers of changes.
#[derive(Clone)]
pub struct SharedDemand {
    state: Arc<Mutex<Demand>>,
    changes: watch::Sender<u64>,
    synced: watch::Sender<bool>,
}

impl Default for SharedDemand {
    fn default() -> Self {
        Self { state: Arc::default(), changes: watch::Sender::new(0), synced: watch::Sender::new(false) }
    }
}

impl SharedDemand {
    /// Reads the demand under the lock.
    pub fn read<T>(&self, read: impl FnOnce(&Demand) -> T) -> T {
        read(&lock(&self.state))
    }

    /// Changes the demand under the lock, then notifies subscribers if it reports a change.
    pub fn change(&self, change: impl FnOnce(&mut Demand) -> Changed) {
        let (Changed(is_changed), is_synced) = {
            let mut demand = lock(&self.state);
            (change(&mut demand), demand.is_synced())
        };
        if is_changed {
            self.changes.send_modify(|count| *count += 1);
        }
        // Never back to false: callers on other threads may arrive here in another order.
        self.synced.send_if_modified(|synced| is_synced && !std::mem::replace(synced, true));
    }

    /// Whether every watch has listed its objects once.
    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Waits until every watch has listed its objects once.
    pub async fn wait_until_synced(&self) {
        // The sender lives as long as `self`, so waiting can't fail.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// Notifications of changes from now on: one item for all changes within 200 milliseconds.
    pub fn subscribe(&self) -> impl Stream<Item = ()> + Send + Sync + use<> {
        stream::unfold(self.changes.subscribe(), async |mut changes| {
            changes.changed().await.ok()?;
            tokio::time::sleep(DEBOUNCE).await;
            changes.mark_unchanged();
            Some(((), changes))
        })
    }
}

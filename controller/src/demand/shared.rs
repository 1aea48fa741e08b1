//! The demand, shared between the watches that fill it and its readers.

use std::mem;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{Stream, stream};
use tokio::sync::{Notify, watch};
use zstart_core::sync::lock;

use super::{Changes, Demand};

/// Delay from a change to its notification. A rollout changes many objects at once.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// A demand behind a lock, which gives one receiver notice of changes.
#[derive(Clone)]
pub struct SharedDemand {
    state: Arc<Mutex<State>>,
    /// Wakes the receiver of [`changes`](Self::changes).
    collected: Arc<Notify>,
    synced: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    demand: Demand,
    /// Changes that the receiver hasn't got yet; `None` as long as there is no receiver.
    pending: Option<Changes>,
    /// Number of sources that all changes have named.
    source_changes: u64,
}

impl Default for SharedDemand {
    fn default() -> Self {
        Self { state: Arc::default(), collected: Arc::default(), synced: watch::Sender::new(false) }
    }
}

impl SharedDemand {
    /// Reads the demand under the lock.
    pub fn read<T>(&self, read: impl FnOnce(&Demand) -> T) -> T {
        read(&lock(&self.state).demand)
    }

    /// Changes the demand under the lock, then notifies the receiver if it reports a change.
    pub fn change(&self, change: impl FnOnce(&mut Demand) -> Changes) {
        let (is_changed, is_synced) = {
            let mut state = lock(&self.state);
            let changes = change(&mut state.demand);
            let is_changed = !changes.is_empty();
            state.source_changes += changes.sources.len() as u64;
            if let Some(pending) = &mut state.pending {
                pending.merge(changes);
            }
            (is_changed, state.demand.is_synced())
        };
        if is_changed {
            self.collected.notify_one();
        }
        // Never back to false: callers on other threads may arrive here in another order.
        self.synced.send_if_modified(|synced| is_synced && !mem::replace(synced, true));
    }

    /// Number of changed sources that all events have named, for metrics.
    pub fn source_changes(&self) -> u64 {
        lock(&self.state).source_changes
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

    /// Changes, for one receiver. The first item has everything that is in demand already. An item collects the
    /// changes of 200 milliseconds, or of the longer time in which the receiver doesn't ask. None is lost: a
    /// stream that is dropped and made again continues with the changes that weren't received.
    ///
    /// Two streams at a time would each get a part of the changes.
    pub fn changes(&self) -> impl Stream<Item = Changes> + Send + use<> {
        {
            let mut state = lock(&self.state);
            if state.pending.is_none() {
                state.pending = Some(state.demand.everything());
            }
        }
        stream::unfold(self.clone(), async |shared| {
            while lock(&shared.state).pending.as_ref().is_none_or(Changes::is_empty) {
                shared.collected.notified().await;
            }
            tokio::time::sleep(DEBOUNCE).await;
            let changes = lock(&shared.state).pending.as_mut().map(mem::take)?;
            Some((changes, shared))
        })
    }
}

#[cfg(test)]
mod tests;

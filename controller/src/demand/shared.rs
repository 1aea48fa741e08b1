//! The demand, shared between the watches that fill it and those who ask.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::{Changed, Demand};

/// What every watch must have done once before answers count: six kinds, namespaces, nodes.
const WATCHES: usize = 8;

/// A demand behind a lock, with a bell that rings when another answer may be given.
#[derive(Clone)]
pub struct SharedDemand {
    state: Arc<Mutex<Demand>>,
    changes: watch::Sender<u64>,
    synced: watch::Sender<BTreeSet<&'static str>>,
}

impl Default for SharedDemand {
    fn default() -> Self {
        Self {
            state: Arc::default(),
            changes: watch::Sender::new(0),
            synced: watch::Sender::new(BTreeSet::new()),
        }
    }
}

impl SharedDemand {
    /// Looks at it.
    pub fn read<T>(&self, look: impl FnOnce(&Demand) -> T) -> T {
        look(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes it, and rings if that made a difference.
    pub fn change(&self, change: impl FnOnce(&mut Demand) -> Changed) {
        let Changed(is_changed) = change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        if is_changed {
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// A watch has told all that there is.
    pub fn synced(&self, watch: &'static str) {
        self.synced.send_if_modified(|done| done.insert(watch));
    }

    /// Whether every watch has.
    pub fn is_synced(&self) -> bool {
        self.synced.borrow().len() == WATCHES
    }

    /// Waits until every watch has.
    pub async fn wait_until_synced(&self) {
        // The sender lives as long as `self`, so waiting can't fail.
        let _ = self.synced.subscribe().wait_for(|done| done.len() == WATCHES).await;
    }

    /// Rings from now on.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

//! Some at a time, by key.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits for each key, which exist as long as somebody holds or awaits them.
#[derive(Debug)]
pub struct KeyedPermits<K> {
    /// How many may hold one key's at once.
    each: usize,
    keys: Mutex<HashMap<K, Weak<Semaphore>>>,
}

impl<K: Eq + Hash> KeyedPermits<K> {
    /// So many permits for each key. One makes it a lock.
    pub fn new(each: usize) -> Self {
        Self { each, keys: Mutex::default() }
    }

    /// Waits until there is a permit for this key.
    pub async fn permit(&self, key: K) -> OwnedSemaphorePermit {
        let permits = {
            let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            keys.retain(|_, permits| permits.strong_count() > 0);
            let known = keys.get(&key).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let permits = Arc::new(Semaphore::new(self.each));
                keys.insert(key, Arc::downgrade(&permits));
                permits
            })
        };
        let Ok(permit) = permits.acquire_owned().await else {
            unreachable!("no semaphore here is ever closed")
        };
        permit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_key_is_held_by_so_many_and_others_are_free() {
        let permits = KeyedPermits::new(2);
        let first = permits.permit("a").await;
        let _second = permits.permit("a").await;
        let _other = permits.permit("b").await;
        assert!(futures::poll!(std::pin::pin!(permits.permit("a"))).is_pending());
        drop(first);
        let _third = permits.permit("a").await;
        assert_eq!(permits.keys.lock().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_key_that_nobody_holds_is_forgotten() {
        let permits = KeyedPermits::new(1);
        drop(permits.permit("a").await);
        let _other = permits.permit("b").await;
        assert_eq!(permits.keys.lock().unwrap().len(), 1);
    }
}

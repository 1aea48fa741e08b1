//! Semaphores by key.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zstart_core::sync::lock;

/// A semaphore for each key. A key's semaphore exists while a caller holds or awaits one of its permits.
#[derive(Debug)]
pub struct KeyedSemaphore<K> {
    permits_per_key: usize,
    semaphores: Mutex<HashMap<K, Weak<Semaphore>>>,
}

impl<K: Eq + Hash> KeyedSemaphore<K> {
    /// Creates a set of semaphores. One permit per key makes a lock of each.
    pub fn new(permits_per_key: usize) -> Self {
        Self { permits_per_key, semaphores: Mutex::default() }
    }

    /// Waits for a permit of a key.
    pub async fn acquire(&self, key: K) -> OwnedSemaphorePermit {
        let semaphore = {
            let mut semaphores = lock(&self.semaphores);
            semaphores.retain(|_, semaphore| semaphore.strong_count() > 0);
            let known = semaphores.get(&key).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let semaphore = Arc::new(Semaphore::new(self.permits_per_key));
                semaphores.insert(key, Arc::downgrade(&semaphore));
                semaphore
            })
        };
        let Ok(permit) = semaphore.acquire_owned().await else { unreachable!("no semaphore is ever closed") };
        permit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn permits_are_limited_per_key() {
        let semaphore = KeyedSemaphore::new(2);
        let first = semaphore.acquire("a").await;
        let _second = semaphore.acquire("a").await;
        let _other = semaphore.acquire("b").await;
        assert!(futures::poll!(std::pin::pin!(semaphore.acquire("a"))).is_pending());
        drop(first);
        let _third = semaphore.acquire("a").await;
        assert_eq!(lock(&semaphore.semaphores).len(), 2);
    }

    #[tokio::test]
    async fn semaphore_of_an_unused_key_is_dropped() {
        let semaphore = KeyedSemaphore::new(1);
        drop(semaphore.acquire("a").await);
        let _other = semaphore.acquire("b").await;
        assert_eq!(lock(&semaphore.semaphores).len(), 1);
    }
}

//! Layer cache: results of earlier conversions. Images share their base layers, and the cache lets a program
//! convert each layer once.

use std::collections::HashMap;
use std::fmt;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;
use zstart_codec::without_method;
use zstart_core::Digest;
use zstart_core::sync::lock;

use crate::converted_layer::ConvertedLayer;
use crate::keyed_semaphore::KeyedSemaphore;

mod file;

pub use file::LayerCacheError;

/// Capacity of a generation, in layers. Two generations of entries below 1 KiB bound a cache to 20 MiB.
const GENERATION: usize = 10_000;
/// Number of repositories that a layer's entry names.
const LOCATIONS: usize = 4;

/// Cache of layers that this process has read whole, or that another process of the same user has read and
/// saved to a file. An entry has the digest of the uncompressed bytes and the blob that was written. The
/// cache is bounded; evicted layers are verified or converted again.
pub struct LayerCache {
    generations: Mutex<Generations>,
    locks: KeyedSemaphore<(String, LayerKey)>,
}

/// A layer of a source, and the settings of its conversion without their method.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct LayerKey {
    pub(crate) layer: Digest,
    pub(crate) settings: String,
}

impl LayerKey {
    /// The key of a layer under a converter's settings. Results of all methods have one key.
    pub(crate) fn new(layer: &Digest, settings: &str) -> Self {
        Self { layer: layer.clone(), settings: without_method(settings).to_owned() }
    }
}

/// Result of a layer's conversion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CacheEntry {
    #[serde(flatten)]
    pub(crate) converted: ConvertedLayer,
    /// Repositories that had the written blob, the latest first.
    #[serde(rename = "places")]
    pub(crate) locations: Vec<String>,
}

/// Two generations of entries. An entry that isn't used while a generation fills is evicted.
#[derive(Default)]
struct Generations {
    recent: HashMap<LayerKey, CacheEntry>,
    older: HashMap<LayerKey, CacheEntry>,
}

impl Default for LayerCache {
    fn default() -> Self {
        Self { generations: Mutex::default(), locks: KeyedSemaphore::new(1) }
    }
}

impl fmt::Debug for LayerCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LayerCache").finish_non_exhaustive()
    }
}

impl LayerCache {
    /// Waits for the lock on a layer of a repository. A caller that waited finds the entry of the previous
    /// holder.
    pub(crate) async fn lock(&self, key: &LayerKey, location: &str) -> OwnedSemaphorePermit {
        self.locks.acquire((location.to_owned(), key.clone())).await
    }

    /// Whether a layer has an entry.
    pub(crate) fn contains(&self, layer: &Digest, settings: &str) -> bool {
        self.get(&LayerKey::new(layer, settings)).is_some()
    }

    pub(crate) fn get(&self, key: &LayerKey) -> Option<CacheEntry> {
        lock(&self.generations).get(key)
    }

    /// Records a layer's conversion, and that the written blob is in a repository.
    pub(crate) fn insert(&self, key: &LayerKey, converted: &ConvertedLayer, location: &str) {
        lock(&self.generations).insert(key, converted, location);
    }
}

impl Generations {
    fn get(&mut self, key: &LayerKey) -> Option<CacheEntry> {
        if let Some(found) = self.recent.get(key) {
            return Some(found.clone());
        }
        let found = self.older.remove(key)?;
        self.insert_recent(key.clone(), found.clone());
        Some(found)
    }

    fn insert(&mut self, key: &LayerKey, converted: &ConvertedLayer, location: &str) {
        let mut locations = self.get(key).map(|known| known.locations).unwrap_or_default();
        locations.retain(|known| known != location);
        locations.insert(0, location.to_owned());
        locations.truncate(LOCATIONS);
        self.insert_recent(key.clone(), CacheEntry { converted: converted.clone(), locations });
    }

    fn insert_recent(&mut self, key: LayerKey, entry: CacheEntry) {
        if self.recent.len() >= GENERATION && !self.recent.contains_key(&key) {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(key, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> LayerKey {
        LayerKey { layer: Digest::sha256_of(&number.to_be_bytes()), settings: "level=3".to_owned() }
    }

    fn converted() -> ConvertedLayer {
        ConvertedLayer { diff_id: Digest::sha256_of(b"files"), written: None }
    }

    #[test]
    fn used_entries_stay_and_unused_entries_are_evicted() {
        let cache = LayerCache::default();
        for number in 0..GENERATION * 3 {
            cache.insert(&key(number), &converted(), "registry/app");
            assert!(cache.get(&key(0)).is_some(), "evicted at {number}");
        }
        assert!(cache.get(&key(1)).is_none());
        let generations = lock(&cache.generations);
        assert!(generations.recent.len() + generations.older.len() <= GENERATION * 2);
    }

    #[test]
    fn latest_locations_are_kept_once_each() {
        let cache = LayerCache::default();
        for location in ["a", "b", "a", "c", "d", "e"] {
            cache.insert(&key(0), &converted(), location);
        }
        assert_eq!(cache.get(&key(0)).unwrap().locations, ["e", "d", "c", "a"]);
        let other = LayerKey { settings: "level=9".to_owned(), ..key(0) };
        assert!(cache.get(&other).is_none(), "other settings give other bytes");
    }
}

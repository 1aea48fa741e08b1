//! What a program remembers of the layers that it has dealt with, so that it converts none of them
//! twice: images share their base layers.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;
use zstart_core::Digest;

use crate::engine::ConvertedLayer;
use crate::locks::KeyedPermits;

mod file;

pub use file::MemoryFileError;

/// How many layers a generation has. With two of them and less than 1 KiB each this bounds a memory to
/// 20 MiB.
const GENERATION: usize = 10_000;
/// In how many repositories a layer is remembered to be.
const PLACES: usize = 4;

/// Layers that this process has read whole, or another one of the same user that kept its memory in a
/// file: what they unpack to, and what was written of them. Bounded; what is forgotten is proven or
/// converted again.
pub struct LayerMemory {
    generations: Mutex<Generations>,
    in_work: KeyedPermits<(String, LayerKey)>,
}

/// A layer of a source, and the settings of its conversion.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct LayerKey {
    pub(crate) layer: Digest,
    pub(crate) settings: String,
}

/// A layer that this process has dealt with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    #[serde(flatten)]
    pub(crate) outcome: ConvertedLayer,
    /// The repositories where what was written was seen, the last one first.
    pub(crate) places: Vec<String>,
}

/// What was used lately, and what was before: whatever isn't used while a generation fills is forgotten.
#[derive(Default)]
struct Generations {
    recent: HashMap<LayerKey, Remembered>,
    older: HashMap<LayerKey, Remembered>,
}

impl Default for LayerMemory {
    fn default() -> Self {
        Self { generations: Mutex::default(), in_work: KeyedPermits::new(1) }
    }
}

impl fmt::Debug for LayerMemory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LayerMemory").finish_non_exhaustive()
    }
}

impl LayerMemory {
    /// Waits until nobody else works on this layer for the same repository. Whoever waited finds what
    /// the other one has made.
    pub(crate) async fn claim(&self, key: &LayerKey, location: &str) -> OwnedSemaphorePermit {
        self.in_work.permit((location.to_owned(), key.clone())).await
    }

    /// Whether there is something to remember of a layer.
    pub(crate) fn knows(&self, layer: &Digest, settings: &str) -> bool {
        self.get(&LayerKey { layer: layer.clone(), settings: settings.to_owned() }).is_some()
    }

    pub(crate) fn get(&self, key: &LayerKey) -> Option<Remembered> {
        self.lock().get(key)
    }

    /// Remembers a layer, and that what was written of it is in this repository.
    pub(crate) fn note(&self, key: &LayerKey, outcome: &ConvertedLayer, location: &str) {
        self.lock().note(key, outcome, location);
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn get(&mut self, key: &LayerKey) -> Option<Remembered> {
        if let Some(found) = self.recent.get(key) {
            return Some(found.clone());
        }
        let found = self.older.remove(key)?;
        self.insert(key.clone(), found.clone());
        Some(found)
    }

    fn note(&mut self, key: &LayerKey, outcome: &ConvertedLayer, location: &str) {
        let mut places = self.get(key).map(|known| known.places).unwrap_or_default();
        places.retain(|place| place != location);
        places.insert(0, location.to_owned());
        places.truncate(PLACES);
        self.insert(key.clone(), Remembered { outcome: outcome.clone(), places });
    }

    fn insert(&mut self, key: LayerKey, remembered: Remembered) {
        if self.recent.len() >= GENERATION && !self.recent.contains_key(&key) {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(key, remembered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> LayerKey {
        LayerKey { layer: Digest::sha256_of(&number.to_be_bytes()), settings: "level=3".to_owned() }
    }

    fn outcome() -> ConvertedLayer {
        ConvertedLayer { diff_id: Digest::sha256_of(b"files"), written: None }
    }

    #[test]
    fn what_is_used_stays_and_what_is_not_is_forgotten() {
        let memory = LayerMemory::default();
        for number in 0..GENERATION * 3 {
            memory.note(&key(number), &outcome(), "registry/app");
            assert!(memory.get(&key(0)).is_some(), "forgotten at {number}");
        }
        assert!(memory.get(&key(1)).is_none());
        let generations = memory.lock();
        assert!(generations.recent.len() + generations.older.len() <= GENERATION * 2);
    }

    #[test]
    fn the_last_places_of_a_layer_are_remembered_once_each() {
        let memory = LayerMemory::default();
        for place in ["a", "b", "a", "c", "d", "e"] {
            memory.note(&key(0), &outcome(), place);
        }
        assert_eq!(memory.get(&key(0)).unwrap().places, ["e", "d", "c", "a"]);
        let other = LayerKey { settings: "level=9".to_owned(), ..key(0) };
        assert!(memory.get(&other).is_none(), "other settings, other bytes");
    }
}

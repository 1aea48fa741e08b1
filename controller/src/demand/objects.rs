//! Objects of one watch, of which a list is applied in place.
//!
//! A list replaces each object when it reports the object, and removes the absent ones at its end. Two copies
//! of all objects would double the memory at each list.

use std::collections::HashMap;
use std::hash::Hash;

/// Reduced objects by key.
#[derive(Debug)]
pub(super) struct Objects<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// Number of the current list.
    list: u32,
    is_synced: bool,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    /// Last list that was begun when the object was reported.
    list: u32,
}

impl<K, V> Default for Objects<K, V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), list: 0, is_synced: false }
    }
}

impl<K: Clone + Eq + Hash, V> Objects<K, V> {
    /// Begins a list. An earlier list that isn't complete is given up.
    pub(super) fn begin_list(&mut self) {
        self.list = self.list.wrapping_add(1);
    }

    /// Ends a list. Returns the keys of the objects that it lacks; the caller removes them.
    pub(super) fn end_list(&mut self) -> Vec<K> {
        self.is_synced = true;
        let absent = self.entries.iter().filter(|(_, entry)| entry.list != self.list);
        absent.map(|(key, _)| key.clone()).collect()
    }

    /// The object, after a report that it exists unchanged.
    pub(super) fn touch(&mut self, key: &K) -> Option<&V> {
        let entry = self.entries.get_mut(key)?;
        entry.list = self.list;
        Some(&entry.value)
    }

    /// The object.
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// Sets or removes an object. Returns the old one.
    pub(super) fn set(&mut self, key: K, value: Option<V>) -> Option<V> {
        let old = match value {
            Some(value) => self.entries.insert(key, Entry { value, list: self.list }),
            None => self.entries.remove(&key),
        };
        if self.entries.len() < self.entries.capacity() / 8 {
            self.entries.shrink_to_fit();
        }
        old.map(|entry| entry.value)
    }

    /// All objects.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.values().map(|entry| &entry.value)
    }

    /// Number of objects.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether at least one list was complete.
    pub(super) fn is_synced(&self) -> bool {
        self.is_synced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_replaces_in_place_and_reports_absent_objects() {
        let mut objects = Objects::default();
        for (key, value) in [("a", 1), ("b", 1), ("c", 1)] {
            objects.set(key, Some(value));
        }
        assert!(!objects.is_synced());
        objects.begin_list();
        assert_eq!(objects.touch(&"a"), Some(&1));
        assert_eq!(objects.set("b", Some(2)), Some(1));
        // The list failed and starts over.
        objects.begin_list();
        objects.touch(&"b");
        objects.set("d", Some(1));
        let mut absent = objects.end_list();
        absent.sort_unstable();
        assert_eq!(absent, ["a", "c"]);
        for key in absent {
            objects.set(key, None);
        }
        assert_eq!((objects.len(), objects.get(&"b"), objects.is_synced()), (2, Some(&2), true));
        objects.begin_list();
        assert_eq!(objects.values().sum::<i32>(), 3, "the objects stay in use during a list");
    }

    #[test]
    fn memory_of_removed_objects_is_released() {
        let mut objects = Objects::default();
        for number in 0..10_000 {
            objects.set(number, Some(()));
        }
        for number in 1..10_000 {
            objects.set(number, None);
        }
        assert!(objects.entries.capacity() < 100, "{}", objects.entries.capacity());
    }
}

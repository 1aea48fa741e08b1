//! Map with a limit: the oldest entry makes room for a new one.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Map of at most `limit` entries.
#[derive(Debug)]
pub(crate) struct BoundedMap<K, V> {
    entries: HashMap<K, V>,
    /// Keys in the order of their first insertion. Keys of removed entries stay until their turn.
    order: VecDeque<K>,
    limit: usize,
}

impl<K: Clone + Eq + Hash, V> BoundedMap<K, V> {
    pub(crate) fn new(limit: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), limit }
    }

    /// Inserts or replaces an entry. Returns whether the key is new.
    pub(crate) fn insert(&mut self, key: K, value: V) -> bool {
        if self.entries.insert(key.clone(), value).is_some() {
            return false;
        }
        self.order.push_back(key);
        while self.order.len() > self.limit {
            if let Some(oldest) = self.order.pop_front() {
                self.entries.remove(&oldest);
            }
        }
        true
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let removed = self.entries.remove(key)?;
        self.order.retain(|other| other != key);
        Some(removed)
    }

    /// Removes the oldest entry.
    pub(crate) fn pop(&mut self) -> Option<V> {
        let oldest = self.order.pop_front()?;
        self.entries.remove(&oldest)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_entry_makes_room() {
        let mut map = BoundedMap::new(2);
        assert!(map.insert("a", 1) && map.insert("b", 2));
        assert!(!map.insert("a", 3), "a known key keeps its place");
        assert!(map.is_full() && map.insert("c", 4));
        assert_eq!((map.get(&"a"), map.get(&"b"), map.get(&"c")), (None, Some(&2), Some(&4)));
    }

    #[test]
    fn entries_leave_in_order() {
        let mut map = BoundedMap::new(8);
        for (key, value) in [("a", 1), ("b", 2), ("c", 3)] {
            map.insert(key, value);
        }
        assert_eq!((map.remove(&"b"), map.remove(&"b")), (Some(2), None));
        map.insert("b", 4);
        assert_eq!([map.pop(), map.pop(), map.pop(), map.pop()], [Some(1), Some(3), Some(4), None]);
        assert!(map.is_empty());
    }
}

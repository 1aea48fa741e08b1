//! One kind of object, by name, as a watch tells it.

use std::collections::HashMap;

use kube::runtime::watcher::Event;

/// Reduced objects by name.
///
/// While a watch starts anew, the old objects stay in use until the new list is complete.
#[derive(Debug)]
pub(super) struct Cache<V> {
    live: HashMap<String, V>,
    incoming: HashMap<String, V>,
    synced: bool,
}

impl<V> Default for Cache<V> {
    fn default() -> Self {
        Self { live: HashMap::new(), incoming: HashMap::new(), synced: false }
    }
}

impl<V> Cache<V> {
    /// Takes in one event. `reduce` gives an object's name and what is kept of it, if anything.
    pub(super) fn apply<K>(&mut self, event: Event<K>, reduce: impl Fn(K) -> (String, Option<V>)) {
        match event {
            Event::Init => self.incoming.clear(),
            Event::InitApply(object) => {
                if let (name, Some(value)) = reduce(object) {
                    self.incoming.insert(name, value);
                }
            }
            Event::InitDone => {
                self.live = std::mem::take(&mut self.incoming);
                self.synced = true;
            }
            Event::Apply(object) => match reduce(object) {
                (name, Some(value)) => drop(self.live.insert(name, value)),
                (name, None) => drop(self.live.remove(&name)),
            },
            Event::Delete(object) => drop(self.live.remove(&reduce(object).0)),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&V> {
        self.live.get(name)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.live.values()
    }

    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether a list was taken in to its end.
    pub(super) fn is_synced(&self) -> bool {
        self.synced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(cache: &mut Cache<u32>, event: Event<(&str, u32)>) {
        // Zero stands for an object of which nothing is kept.
        cache.apply(event, |(name, value)| (name.to_owned(), (value > 0).then_some(value)));
    }

    #[test]
    fn it_is_synced_when_the_first_list_is_complete() {
        let mut cache = Cache::default();
        apply(&mut cache, Event::Init);
        apply(&mut cache, Event::InitApply(("a", 1)));
        assert!(!cache.is_synced() && cache.get("a").is_none());
        apply(&mut cache, Event::InitDone);
        assert!(cache.is_synced() && cache.get("a") == Some(&1));
    }

    #[test]
    fn a_restarted_watch_replaces_everything_at_once_and_not_before_its_end() {
        let mut cache = Cache::default();
        for event in [Event::Init, Event::InitApply(("a", 1)), Event::InitDone, Event::Init] {
            apply(&mut cache, event);
        }
        apply(&mut cache, Event::InitApply(("b", 2)));
        assert_eq!((cache.get("a"), cache.get("b")), (Some(&1), None));
        // The list broke off, and is asked for again.
        for event in [Event::Init, Event::InitApply(("c", 3)), Event::InitDone] {
            apply(&mut cache, event);
        }
        assert_eq!(cache.values().collect::<Vec<_>>(), [&3]);
    }

    #[test]
    fn objects_come_change_lose_their_worth_and_go() {
        let mut cache = Cache::default();
        apply(&mut cache, Event::Apply(("a", 1)));
        apply(&mut cache, Event::Apply(("a", 2)));
        assert_eq!((cache.get("a"), cache.len()), (Some(&2), 1));
        apply(&mut cache, Event::Apply(("a", 0)));
        assert_eq!(cache.len(), 0);
        apply(&mut cache, Event::Apply(("b", 1)));
        apply(&mut cache, Event::Delete(("b", 1)));
        assert_eq!(cache.len(), 0);
    }
}

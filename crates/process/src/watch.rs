//! Watches of the API server: an event stream that survives errors, and the cache that it fills.
//!
//! [`WatchCache`] is a synchronous state machine, so its users are tested without an API server.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use zstart_core::chain;

mod deadlines;
mod heard;

pub use deadlines::{DeadlineService, Deadlines, Silent, TimedBody};
pub use heard::{Heard, HeardService};

/// Watches `api` forever. A watch that fails is logged under the name `resource`, then restarted with
/// exponential backoff.
pub fn events<K>(resource: impl Into<String>, api: Api<K>, config: Config) -> BoxStream<'static, Event<K>>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let resource = resource.into();
    watcher(api, config)
        .default_backoff()
        .filter_map(move |event| {
            let event = event.inspect_err(|error| {
                tracing::warn!(resource, error = chain(error), "watch failed, restarting after a backoff");
            });
            std::future::ready(event.ok())
        })
        .boxed()
}

/// Watches `api` forever, as [`events`] does, and hands each event to `apply`.
pub async fn drain<K>(resource: &'static str, api: Api<K>, config: Config, mut apply: impl FnMut(Event<K>))
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut events = events(resource, api, config);
    while let Some(event) = events.next().await {
        let is_listed = matches!(event, Event::InitDone);
        apply(event);
        if is_listed {
            tracing::info!(resource, "listed all objects");
        }
    }
}

/// Reduced objects by key, as the events of one watch describe them.
///
/// A relist replaces the objects when it is complete. Until then the old objects stay in use.
#[derive(Debug)]
pub struct WatchCache<K, V> {
    live: HashMap<K, V>,
    incoming: HashMap<K, V>,
    synced: bool,
}

impl<K, V> Default for WatchCache<K, V> {
    fn default() -> Self {
        Self { live: HashMap::new(), incoming: HashMap::new(), synced: false }
    }
}

impl<K: Clone + Eq + Hash, V: PartialEq> WatchCache<K, V> {
    /// Applies one event and returns the keys whose value changed.
    ///
    /// `reduce` maps an object to its key and to the value that is kept. An object without a value is
    /// absent from the cache.
    pub fn apply<O>(&mut self, event: Event<O>, reduce: impl Fn(O) -> (K, Option<V>)) -> Vec<K> {
        match event {
            Event::Init => self.incoming.clear(),
            Event::InitApply(object) => {
                if let (key, Some(value)) = reduce(object) {
                    self.incoming.insert(key, value);
                }
            }
            Event::InitDone => {
                self.synced = true;
                return self.replace();
            }
            Event::Apply(object) => {
                let (key, value) = reduce(object);
                return self.set(key, value).into_iter().collect();
            }
            Event::Delete(object) => {
                let (key, _) = reduce(object);
                return self.set(key, None).into_iter().collect();
            }
        }
        Vec::new()
    }

    /// Replaces all objects by those of the list.
    fn replace(&mut self) -> Vec<K> {
        let old = std::mem::replace(&mut self.live, std::mem::take(&mut self.incoming));
        let added = self.live.iter().filter(|(key, value)| old.get(key) != Some(value));
        let removed = old.keys().filter(|key| !self.live.contains_key(key));
        added.map(|(key, _)| key).chain(removed).cloned().collect()
    }

    fn set(&mut self, key: K, value: Option<V>) -> Option<K> {
        let is_changed = self.live.get(&key) != value.as_ref();
        match value {
            Some(value) => drop(self.live.insert(key.clone(), value)),
            None => drop(self.live.remove(&key)),
        }
        is_changed.then_some(key)
    }

    /// Inserts an object that the caller created, before the watch reports it.
    pub fn insert(&mut self, key: K, value: V) {
        self.live.insert(key, value);
    }

    /// The value of one object.
    pub fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.live.get(key)
    }

    /// Whether an object is in the cache.
    pub fn contains_key<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.live.contains_key(key)
    }

    /// All objects, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.live.iter()
    }

    /// All values, in no particular order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.live.values()
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether there are no objects.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Returns whether at least one list was complete.
    pub fn is_synced(&self) -> bool {
        self.synced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(cache: &mut WatchCache<String, u32>, event: Event<(&str, u32)>) -> Vec<String> {
        // Zero represents an object without a value.
        cache.apply(event, |(name, value)| (name.to_owned(), (value > 0).then_some(value)))
    }

    fn sorted(mut changed: Vec<String>) -> Vec<String> {
        changed.sort();
        changed
    }

    #[test]
    fn cache_is_synced_after_the_first_list() {
        let mut cache = WatchCache::default();
        apply(&mut cache, Event::Init);
        apply(&mut cache, Event::InitApply(("a", 1)));
        assert!(!cache.is_synced() && cache.get("a").is_none());
        assert_eq!(apply(&mut cache, Event::InitDone), ["a"]);
        assert!(cache.is_synced() && cache.get("a") == Some(&1));
    }

    #[test]
    fn relist_replaces_all_objects_at_its_end() {
        let mut cache = WatchCache::default();
        for event in [Event::Init, Event::InitApply(("a", 1)), Event::InitDone, Event::Init] {
            apply(&mut cache, event);
        }
        apply(&mut cache, Event::InitApply(("b", 2)));
        assert_eq!((cache.get("a"), cache.get("b")), (Some(&1), None));
        // The list failed and starts over.
        for event in [Event::Init, Event::InitApply(("c", 3))] {
            apply(&mut cache, event);
        }
        assert_eq!(sorted(apply(&mut cache, Event::InitDone)), ["a", "c"]);
        assert_eq!(cache.values().collect::<Vec<_>>(), [&3]);
    }

    #[test]
    fn relist_reports_only_changed_keys() {
        let mut cache = WatchCache::default();
        for value in [1, 2] {
            for event in [Event::Init, Event::InitApply(("same", 7)), Event::InitApply(("other", value))] {
                apply(&mut cache, event);
            }
            let expected: &[&str] = if value == 1 { &["other", "same"] } else { &["other"] };
            assert_eq!(sorted(apply(&mut cache, Event::InitDone)), expected);
        }
    }

    #[test]
    fn objects_are_inserted_updated_and_removed() {
        let mut cache = WatchCache::default();
        assert_eq!(apply(&mut cache, Event::Apply(("a", 1))), ["a"]);
        assert_eq!(apply(&mut cache, Event::Apply(("a", 2))), ["a"]);
        assert_eq!(apply(&mut cache, Event::Apply(("a", 2))), [] as [&str; 0]);
        assert_eq!((cache.get("a"), cache.len()), (Some(&2), 1));
        assert_eq!(apply(&mut cache, Event::Apply(("a", 0))), ["a"]);
        assert!(cache.is_empty());
        apply(&mut cache, Event::Apply(("b", 1)));
        assert_eq!(apply(&mut cache, Event::Delete(("b", 1))), ["b"]);
        assert_eq!(apply(&mut cache, Event::Delete(("b", 1))), [] as [&str; 0]);
        assert!(cache.is_empty());
    }
}

//! The watches that keep a snapshot up to date.

use std::pin::pin;

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Config, Event};
use kube::{Api, Client};
use zstart_core::{ImageConversion, chain, keys};

use super::Snapshot;

/// A record, or what is wrong with it: one that can't be read mustn't keep the others out.
pub type ReadRecord = DeserializeGuard<ImageConversion>;

/// Keeps `snapshot` up to date for ever. A watch that breaks is started again, more and more
/// slowly, and what was seen before stays in use: records grow stale by themselves.
pub async fn follow(client: Client, snapshot: &Snapshot) {
    let opted_in =
        Config::default().labels(&format!("{} in ({}, {})", keys::REWRITE, keys::ENABLED, keys::AUDIT));
    let namespaces = watcher::watcher(Api::<PartialObjectMeta<Namespace>>::all(client.clone()), opted_in);
    let records = watcher::watcher(Api::<ReadRecord>::all(client.clone()), Config::default());
    let nodes = watcher::watcher(Api::<Node>::all(client), Config::default());
    futures::join!(
        drain("namespaces", namespaces.default_backoff(), |event| snapshot.apply_namespace(event)),
        drain("imageconversions", records.default_backoff(), |event| snapshot.apply_record(event)),
        drain("nodes", nodes.default_backoff(), |event| snapshot.apply_node(event)),
    );
}

async fn drain<K>(
    resource: &'static str,
    events: impl Stream<Item = Result<Event<K>, watcher::Error>>,
    apply: impl Fn(Event<K>),
) {
    let mut events = pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                let listed = matches!(event, Event::InitDone);
                apply(event);
                if listed {
                    tracing::info!(resource, "listed");
                }
            }
            Err(error) => {
                tracing::warn!(resource, error = chain(&error), "a watch broke off and is tried again");
            }
        }
    }
}

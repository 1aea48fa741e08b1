//! The watches that fill the demand.

use std::collections::BTreeSet;
use std::fmt::Debug;

use futures::{Stream, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt as _};
use serde::de::DeserializeOwned;
use zstart_core::eligibility::pod::ControllerKind;
use zstart_core::{Platform, keys};

use crate::demand::{Key, SharedDemand, Workload};

/// Which pods are never rewritten, as the webhook is told too: their images aren't converted.
#[derive(Clone, Debug, Default)]
pub struct Exclusions {
    /// Namespaces that are left out whatever their labels say.
    pub namespaces: BTreeSet<String>,
    /// Makers of pods that ignore a changed image, besides Kubernetes' own.
    pub allowed_controllers: BTreeSet<ControllerKind>,
}

/// Follows everything, for ever.
pub async fn follow(client: Client, demand: SharedDemand, exclusions: Exclusions) {
    let Exclusions { namespaces: excluded, allowed_controllers: allowed } = &exclusions;
    tokio::join!(
        workloads::<Pod>(&client, &demand, allowed, "pods"),
        workloads::<Deployment>(&client, &demand, allowed, "deployments"),
        workloads::<StatefulSet>(&client, &demand, allowed, "statefulsets"),
        workloads::<DaemonSet>(&client, &demand, allowed, "daemonsets"),
        workloads::<Job>(&client, &demand, allowed, "jobs"),
        workloads::<CronJob>(&client, &demand, allowed, "cronjobs"),
        namespaces(&client, &demand, excluded),
        nodes(&client, &demand),
    );
}

/// Pods or templates. Only what they want is kept of them.
async fn workloads<K>(
    client: &Client,
    demand: &SharedDemand,
    allowed: &BTreeSet<ControllerKind>,
    name: &'static str,
) where
    K: Workload + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let events = watcher::watcher(Api::<K>::all(client.clone()), watcher::Config::default());
    let mut seen: BTreeSet<Key> = BTreeSet::new();
    each(events, name, |event| match event {
        Event::Init => seen.clear(),
        Event::InitApply(object) => {
            let Some(key) = object.key() else { return };
            seen.insert(key.clone());
            demand.change(|demand| demand.apply(key, object.requirements(allowed)));
        }
        Event::InitDone => {
            demand.change(|demand| demand.keep_only(K::KIND, &seen));
            demand.synced(name);
        }
        Event::Apply(object) => {
            let Some(key) = object.key() else { return };
            demand.change(|demand| demand.apply(key, object.requirements(allowed)));
        }
        Event::Delete(object) => {
            let Some(key) = object.key() else { return };
            demand.change(|demand| demand.delete(&key));
        }
    })
    .await;
}

/// Namespaces: their labels are enough.
async fn namespaces(client: &Client, demand: &SharedDemand, excluded: &BTreeSet<String>) {
    let is_enabled = |namespace: &PartialObjectMeta<Namespace>| {
        let label = namespace.labels().get(keys::REWRITE).map(String::as_str);
        matches!(label, Some(keys::ENABLED | keys::AUDIT)) && !excluded.contains(&namespace.name_any())
    };
    let events = watcher::watcher(
        Api::<PartialObjectMeta<Namespace>>::all(client.clone()),
        watcher::Config::default(),
    );
    let mut seen = BTreeSet::new();
    each(events, "namespaces", |event| match event {
        Event::Init => seen.clear(),
        Event::InitApply(namespace) => {
            seen.insert(namespace.name_any());
            demand.change(|demand| demand.namespace(&namespace.name_any(), is_enabled(&namespace)));
        }
        Event::InitDone => {
            demand.change(|demand| demand.keep_only_namespaces(&seen));
            demand.synced("namespaces");
        }
        Event::Apply(namespace) => {
            demand.change(|demand| demand.namespace(&namespace.name_any(), is_enabled(&namespace)));
        }
        Event::Delete(namespace) => demand.change(|demand| demand.namespace(&namespace.name_any(), false)),
    })
    .await;
}

/// Nodes: their labels name the platform.
async fn nodes(client: &Client, demand: &SharedDemand) {
    let platform = |node: &PartialObjectMeta<Node>| {
        let label = |key: &str| node.labels().get(key).map(String::as_str);
        Platform::named(label("kubernetes.io/os")?, label("kubernetes.io/arch")?, None)
    };
    let events =
        watcher::watcher(Api::<PartialObjectMeta<Node>>::all(client.clone()), watcher::Config::default());
    let mut seen = BTreeSet::new();
    each(events, "nodes", |event| match event {
        Event::Init => seen.clear(),
        Event::InitApply(node) => {
            seen.insert(node.name_any());
            demand.change(|demand| demand.node(&node.name_any(), platform(&node)));
        }
        Event::InitDone => {
            demand.change(|demand| demand.keep_only_nodes(&seen));
            demand.synced("nodes");
        }
        Event::Apply(node) => demand.change(|demand| demand.node(&node.name_any(), platform(&node))),
        Event::Delete(node) => demand.change(|demand| demand.node(&node.name_any(), None)),
    })
    .await;
}

/// Hands on every event. A watch that breaks is started again, slower each time.
async fn each<K>(
    events: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send,
    name: &'static str,
    mut handle: impl FnMut(Event<K>),
) {
    let mut events = events.default_backoff().boxed();
    loop {
        match events.try_next().await {
            Ok(Some(event)) => handle(event),
            Ok(None) => return,
            Err(error) => tracing::warn!(watch = name, %error, "a watch broke; it is started again"),
        }
    }
}

//! The sources that workloads run, and their consumers.
//!
//! [`Demand`] is a synchronous state machine: watch events go in, the sources in demand come out. Its
//! tests need no API server.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use k8s_openapi::api::core::v1::{Namespace, ObjectReference};
use kube::ResourceExt as _;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use zstart_core::eligibility::pod::ControllerKind;
use zstart_core::{Platform, Reference, keys, variant};
use zstart_process::watch::WatchCache;

use self::look_requests::LookRequests;
use self::revisions::Revisions;
use crate::loop_guard::NodeState;

mod look_requests;
mod revisions;
mod shared;
#[cfg(test)]
mod tests;
mod workload;

pub use look_requests::look_time;
pub use revisions::Revision;
pub use shared::SharedDemand;
pub use workload::Workload;

/// Kinds of workloads that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the Kubernetes kind of that name")]
pub enum Kind {
    Pod,
    Deployment,
    StatefulSet,
    DaemonSet,
    Job,
    CronJob,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Pod, Self::Deployment, Self::StatefulSet, Self::DaemonSet, Self::Job, Self::CronJob];
}

/// Identity of a workload: a pod, or an object that creates pods.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Kind of the object.
    pub kind: Kind,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
}

/// Sources that a workload runs, and how its pods pull them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Requirements {
    /// Normalised sources, without variants.
    pub sources: BTreeSet<Reference>,
    /// The sources that the kubelet pulls at each start (`imagePullPolicy: Always`).
    pub pulled_always: BTreeSet<Reference>,
    /// Version of the pod template; `None` if a change of it is no reason to look at the images.
    pub revision: Option<Revision>,
    /// Names of the pull secrets in the pod specification.
    pub pull_secrets: BTreeSet<String>,
    /// Name of the service account. Its pull secrets are used too.
    pub service_account: String,
    /// Object that events are published on; `None` if a watched owner gets them.
    pub event_target: Option<ObjectReference>,
}

/// A workload that runs a source.
#[derive(Clone, Debug, PartialEq)]
pub struct Consumer {
    /// Namespace of the workload.
    pub namespace: String,
    /// Names of the pull secrets in the pod specification.
    pub pull_secrets: BTreeSet<String>,
    /// Name of the service account.
    pub service_account: String,
    /// The kubelet pulls the source at each start (`imagePullPolicy: Always`).
    pub pulls_always: bool,
    /// Object that events are published on; `None` if a watched owner gets them.
    pub event_target: Option<ObjectReference>,
}

/// Whether an event may have changed the sources, the consumers or the platforms. A pod's heartbeat
/// doesn't.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Changed(pub bool);

/// Pods that are never rewritten, so their images are never converted. The webhook's configuration has
/// the same settings.
#[derive(Clone, Debug, Default)]
pub struct Exclusions {
    /// Namespaces that are excluded despite their labels.
    pub namespaces: BTreeSet<String>,
    /// Owner kinds, besides Kubernetes' own, that ignore a changed image in their pods.
    pub allowed_controllers: BTreeSet<ControllerKind>,
}

/// The cluster's namespaces, workloads and nodes, reduced to what conversions depend on.
#[derive(Debug, Default)]
pub struct Demand {
    /// Opted-in namespaces.
    namespaces: WatchCache<String, ()>,
    workloads: BTreeMap<Kind, WatchCache<Key, Requirements>>,
    nodes: WatchCache<String, Platform>,
    revisions: Revisions,
    look_requests: LookRequests,
}

impl Demand {
    /// Applies an event on namespaces. `look_time` is [`look_time()`] of the event.
    pub fn apply_namespace(
        &mut self,
        event: Event<PartialObjectMeta<Namespace>>,
        excluded: &BTreeSet<String>,
        look_time: Instant,
    ) -> Changed {
        let was_synced = self.namespaces.is_synced();
        let changed = self.namespaces.apply(event, |namespace| {
            let name = namespace.name_any();
            let label = namespace.labels().get(keys::REWRITE).map(String::as_str);
            let is_opted_in = matches!(label, Some(keys::ENABLED | keys::AUDIT));
            let is_enabled = is_opted_in && !excluded.contains(&name);
            (name, is_enabled.then_some(()))
        });
        // Templates that changed before their namespace was opted in were not looked at.
        for namespace in changed.iter().filter(|name| was_synced && self.namespaces.contains_key(*name)) {
            let workloads = self.workloads.values().flat_map(WatchCache::iter);
            let inside = workloads.filter(|(key, _)| key.namespace == *namespace);
            self.look_requests.add(inside.flat_map(|(_, requirements)| &requirements.sources), look_time);
        }
        Changed(!changed.is_empty())
    }

    /// Applies an event on workloads of one kind. Workloads without sources are dropped. `look_time` is
    /// [`look_time()`] of the event.
    pub fn apply_workload<W: Workload>(
        &mut self,
        event: Event<W>,
        allowed: &BTreeSet<ControllerKind>,
        look_time: Instant,
    ) -> Changed {
        let cache = self.workloads.entry(W::KIND).or_default();
        // The first list has the templates of all times. A controller that starts looks at every source.
        let was_synced = cache.is_synced();
        let changed = cache.apply(event, |workload| {
            let requirements = workload.requirements(allowed);
            (workload.key(), Some(requirements).filter(|requirements| !requirements.sources.is_empty()))
        });
        let mut is_enabled = false;
        for key in &changed {
            let requirements = cache.get(key);
            let is_new = self.revisions.update(key, requirements.and_then(|found| found.revision));
            if !self.namespaces.contains_key(&key.namespace) {
                continue;
            }
            is_enabled = true;
            if is_new && was_synced {
                self.look_requests.add(requirements.into_iter().flat_map(|found| &found.sources), look_time);
            }
        }
        if W::KIND == Kind::Pod {
            self.revisions.prune(cache.iter().map(|(_, requirements)| requirements.revision), cache.len());
        }
        Changed(is_enabled)
    }

    /// Applies an event on nodes. Their labels name the platform.
    pub fn apply_node(&mut self, event: Event<NodeState>) -> Changed {
        let changed = self.nodes.apply(event, |node| {
            let label = |key: &str| node.labels().get(key).map(String::as_str);
            let os = label("kubernetes.io/os");
            let architecture = label("kubernetes.io/arch");
            let platform =
                os.zip(architecture).and_then(|(os, architecture)| Platform::named(os, architecture, None));
            (node.name_any(), platform)
        });
        Changed(!changed.is_empty())
    }

    /// Returns whether a namespace is opted in and not excluded.
    pub fn is_opted_in(&self, namespace: &str) -> bool {
        self.namespaces.contains_key(namespace)
    }

    /// Whether every kind was listed at least once.
    pub fn is_synced(&self) -> bool {
        let is_listed = |kind| self.workloads.get(kind).is_some_and(WatchCache::is_synced);
        self.namespaces.is_synced() && self.nodes.is_synced() && Kind::ALL.iter().all(is_listed)
    }

    /// The platforms of the nodes.
    pub fn platforms(&self) -> BTreeSet<Platform> {
        self.nodes.values().cloned().collect()
    }

    /// The sources that workloads in opted-in namespaces run.
    pub fn sources(&self) -> BTreeSet<Reference> {
        self.enabled().flat_map(|(_, requirements)| requirements.sources.iter().cloned()).collect()
    }

    /// The consumers of a source, sorted by key.
    pub fn consumers(&self, source: &Reference) -> Vec<Consumer> {
        let mut found: Vec<(&Key, &Requirements)> =
            self.enabled().filter(|(_, requirements)| requirements.sources.contains(source)).collect();
        found.sort_by_key(|(key, _)| *key);
        let consumer = |(key, requirements): (&Key, &Requirements)| Consumer {
            namespace: key.namespace.clone(),
            pull_secrets: requirements.pull_secrets.clone(),
            service_account: requirements.service_account.clone(),
            pulls_always: requirements.pulled_always.contains(source),
            event_target: requirements.event_target.clone(),
        };
        found.into_iter().map(consumer).collect()
    }

    /// Time of the last look that a changed pod template asks for, possibly in the future.
    pub fn requested_look(&self, source: &Reference) -> Option<Instant> {
        self.look_requests.get(source)
    }

    /// Object that events about a workload are published on, if the workload runs a source.
    pub fn event_target(&self, workload: &Key) -> Option<ObjectReference> {
        self.workloads.get(&workload.kind)?.get(workload)?.event_target.clone()
    }

    /// Workloads in opted-in namespaces.
    fn enabled(&self) -> impl Iterator<Item = (&Key, &Requirements)> {
        let workloads = self.workloads.values().flat_map(WatchCache::iter);
        workloads.filter(|(key, _)| self.namespaces.contains_key(&key.namespace))
    }
}

/// Normalised source of an image field; `None` for variants and invalid references.
fn source_of(image: &str) -> Option<Reference> {
    let reference: Reference = match image.parse() {
        Ok(reference) => reference,
        Err(error) => {
            tracing::debug!(image, %error, "ignoring an invalid image reference");
            return None;
        }
    };
    match variant::require_source(&reference) {
        Ok(source) => Some(source.identity()),
        Err(refusal) => {
            tracing::debug!(image, %refusal, "ignoring an image");
            None
        }
    }
}

//! The sources that workloads run, and their consumers.
//!
//! [`Demand`] is a synchronous state machine: watch events go in, the sources in demand come out. Its
//! tests need no API server.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, ObjectReference};
use kube::ResourceExt as _;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use zstart_core::eligibility::pod::ControllerKind;
use zstart_core::{Platform, Reference, keys, variant};
use zstart_process::watch::WatchCache;

use self::platforms::Platforms;
use self::workloads::Workloads;
use crate::loop_guard::NodeState;

mod changes;
mod index;
mod interner;
mod look_time;
mod objects;
mod platforms;
mod requirements;
mod revisions;
mod shared;
#[cfg(test)]
mod tests;
mod workload;
mod workloads;

pub use changes::Changes;
pub use look_time::LookTime;
pub use requirements::{Access, Consumer, EventTarget, Requirements, Source};
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

    /// API version of the kind.
    fn api_version(self) -> &'static str {
        match self {
            Self::Pod => "v1",
            Self::Deployment | Self::StatefulSet | Self::DaemonSet => "apps/v1",
            Self::Job | Self::CronJob => "batch/v1",
        }
    }
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
///
/// An event costs the same in a cluster of any size: a reverse index leads from a source to its consumers, and
/// each event keeps the index up to date.
#[derive(Debug, Default)]
pub struct Demand {
    /// Opted-in namespaces.
    namespaces: WatchCache<String, ()>,
    workloads: Workloads,
    platforms: Platforms,
}

impl Demand {
    /// Applies an event on namespaces. `look_time` is that of a [`LookTime`] after the event.
    pub fn apply_namespace(
        &mut self,
        event: Event<PartialObjectMeta<Namespace>>,
        excluded: &BTreeSet<String>,
        look_time: Instant,
    ) -> Changes {
        let was_synced = self.namespaces.is_synced();
        let changed = self.namespaces.apply(event, |namespace| {
            let name = namespace.name_any();
            let label = namespace.labels().get(keys::REWRITE).map(String::as_str);
            let is_opted_in = matches!(label, Some(keys::ENABLED | keys::AUDIT));
            let is_enabled = is_opted_in && !excluded.contains(&name);
            (name, is_enabled.then_some(()))
        });
        let (mut changes, index) = (Changes::default(), &mut self.workloads.index);
        for namespace in changed {
            let is_opted_in = self.namespaces.contains_key(&namespace);
            for source in index.opt(&namespace, is_opted_in) {
                // Templates that changed before their namespace was opted in were not looked at.
                if is_opted_in && was_synced {
                    index.request_look(&source, look_time);
                }
                changes.sources.insert(source);
            }
        }
        changes
    }

    /// Applies an event on workloads of one kind. Workloads without sources are dropped. `look_time` is
    /// [`LookTime::after_change`] of the event.
    pub fn apply_workload<W: Workload>(
        &mut self,
        event: Event<W>,
        allowed: &BTreeSet<ControllerKind>,
        look_time: LookTime,
    ) -> Changes {
        match event {
            Event::Init => {
                self.workloads.begin_list(W::KIND);
                Changes::default()
            }
            Event::InitApply(workload) | Event::Apply(workload) => {
                let (key, look) = (workload.key(), self.requested_by(&workload, look_time));
                self.workloads.set(&key, workload.requirements(allowed), look)
            }
            Event::Delete(workload) => self.workloads.remove(&workload.key()),
            Event::InitDone => self.workloads.end_list(W::KIND),
        }
    }

    /// Time of the look that a workload requests if its template is new.
    ///
    /// The first list has the templates of all times, and looks of an earlier process, or of the same second, may
    /// precede some. No template was created before its object.
    fn requested_by<W: Workload>(&self, workload: &W, look_time: LookTime) -> Option<Instant> {
        let namespace = workload.meta().namespace.as_deref().unwrap_or_default();
        // Which namespaces are opted in is known after their first list.
        if self.namespaces.is_synced() && !self.is_opted_in(namespace) {
            return None;
        }
        if self.workloads.are_synced(&[W::KIND]) {
            return Some(look_time.instant);
        }
        look_time.after_creation(workload.meta().creation_timestamp.as_ref()?.0)
    }

    /// Applies an event on nodes at the time `now`. Their labels name the platform.
    pub fn apply_node(&mut self, event: Event<NodeState>, now: Timestamp) -> Changes {
        let platform_of = |node: &NodeState| {
            let label = |key: &str| node.labels().get(key).map(String::as_str);
            let (os, architecture) = (label("kubernetes.io/os")?, label("kubernetes.io/arch")?);
            Platform::named(os, architecture, None)
        };
        let mut changes = Changes::default();
        match event {
            Event::Init => self.platforms.begin_list(),
            Event::InitApply(node) | Event::Apply(node) => {
                changes.platforms = self.platforms.set(node.name_any(), platform_of(&node), now);
            }
            Event::Delete(node) => changes.platforms = self.platforms.set(node.name_any(), None, now),
            Event::InitDone => self.platforms.end_list(now),
        }
        changes
    }

    /// Adds the platforms that an earlier process saw, with the time at which a node was last seen.
    pub fn restore_platforms(&mut self, seen: BTreeMap<Platform, Timestamp>) -> Changes {
        Changes { platforms: self.platforms.restore(seen), ..Changes::default() }
    }

    /// Drops the platforms whose last node was seen more than `retention` before `now`.
    pub fn expire_platforms(&mut self, now: Timestamp, retention: Duration) -> Changes {
        Changes { platforms: self.platforms.expire(now, retention), ..Changes::default() }
    }

    /// The platforms, with the time at which a node was last seen.
    pub fn seen_platforms(&self, now: Timestamp) -> BTreeMap<Platform, Timestamp> {
        self.platforms.seen(now)
    }

    /// Returns whether a namespace is opted in and not excluded.
    pub fn is_opted_in(&self, namespace: &str) -> bool {
        self.namespaces.contains_key(namespace)
    }

    /// Returns whether every kind was listed at least once, and the platforms of the earlier process are known.
    pub fn is_synced(&self) -> bool {
        self.namespaces.is_synced() && self.platforms.is_synced() && self.workloads.are_synced(&Kind::ALL)
    }

    /// The platforms of the nodes, and those of nodes that left a short time ago.
    pub fn platforms(&self) -> BTreeSet<Platform> {
        self.platforms.iter().cloned().collect()
    }

    /// The sources that workloads in opted-in namespaces run.
    pub fn sources(&self) -> BTreeSet<Source> {
        self.workloads.index.sources().cloned().collect()
    }

    /// Number of sources that workloads in opted-in namespaces run.
    pub fn source_count(&self) -> usize {
        self.workloads.index.sources().count()
    }

    /// Returns whether a workload in an opted-in namespace runs the source.
    pub fn is_in_demand(&self, source: &Reference) -> bool {
        self.workloads.index.is_in_demand(source)
    }

    /// Returns a source in demand that fits, the first of those in no particular order. Visits every source.
    pub fn find_source(&self, fits: impl Fn(&Reference) -> bool) -> Option<Source> {
        self.workloads.index.sources().find(|source| fits(source)).cloned()
    }

    /// The consumers of a source, sorted by namespace. Workloads with equal credentials are one consumer, except
    /// that each of the first ten event targets has a consumer of its own.
    pub fn consumers(&self, source: &Reference) -> Vec<Consumer> {
        self.workloads.index.consumers(source)
    }

    /// Time of the last look that a changed pod template asks for, possibly in the future.
    pub fn requested_look(&self, source: &Reference) -> Option<Instant> {
        self.workloads.index.requested_look(source)
    }

    /// Object that events about a workload are published on, if the workload runs a source.
    pub fn event_target(&self, workload: &Key) -> Option<ObjectReference> {
        self.workloads.event_target(workload)
    }

    /// Changes that lead from an empty demand to this one.
    fn everything(&self) -> Changes {
        Changes { sources: self.workloads.index.sources().cloned().collect(), platforms: true }
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

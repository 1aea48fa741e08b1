//! Announcements of rollouts: an event on the owner of rewritten pods says which variant runs in place of which image.
//!
//! [`Rollouts`] observes the watch of pods, and `announce` publishes. An owner gets one event for each version of its
//! pod template and each variant. Only pods that are created while this replica leads count, so a start announces
//! nothing about the pods that exist. The name of an event follows from its content, and the API server refuses a
//! second event of the name: a new leader repeats nothing while the event exists.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::runtime::watcher::Event;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use zstart_core::owner_hold::{Owner, template_of};
use zstart_core::pod_images::images;
use zstart_core::sync::lock;
use zstart_core::{keys, originals, recorded_original};

use crate::context::Context;
use crate::demand::{Demand, Key, Kind};
use crate::heal::BoundedMap;
use crate::loop_guard::deployment_name;

#[cfg(test)]
mod tests;

/// Time between two events. A restart of all workloads must not flood the API server.
const SPACING: Duration = Duration::from_millis(50);
/// Maximum number of uses that wait for their event. A later pod of the same rollout reports a use that is dropped.
const MAX_WAITING: usize = 1_000;
/// Maximum number of remembered uses.
const MAX_TOLD: usize = 10_000;

/// Observer of pods, and the queue of the events. Clones share the queue.
#[derive(Clone, Debug, Default)]
pub struct Rollouts {
    state: Arc<Mutex<State>>,
    arrivals: Arc<Notify>,
}

/// Use of a variant by the pods of an owner, at one version of their template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Use {
    namespace: String,
    owner: Owner,
    template: String,
    original: String,
    variant: String,
}

#[derive(Debug)]
struct State {
    /// Time from which created pods count; `None` while this replica stands by.
    since: Option<Timestamp>,
    seen: BoundedMap<u64, ()>,
    waiting: VecDeque<Use>,
}

impl Default for State {
    fn default() -> Self {
        Self { since: None, seen: BoundedMap::new(MAX_TOLD), waiting: VecDeque::new() }
    }
}

impl Rollouts {
    /// Applies an event on pods.
    pub fn observe_pods(&self, event: &Event<Pod>) {
        if let Event::Apply(pod) | Event::InitApply(pod) = event
            && lock(&self.state).observe(pod)
        {
            self.arrivals.notify_one();
        }
    }

    /// Waits for the next use.
    async fn next(&self) -> Use {
        loop {
            let next = lock(&self.state).waiting.pop_front();
            if let Some(next) = next {
                return next;
            }
            self.arrivals.notified().await;
        }
    }
}

impl State {
    /// Queues the uses of a new pod. Returns whether there are new ones.
    fn observe(&mut self, pod: &Pod) -> bool {
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0.as_second());
        // The API server's times are whole seconds.
        let is_new = self.since.zip(created).is_some_and(|(since, created)| created >= since.as_second());
        let is_rewritten = || {
            let annotations = pod.metadata.annotations.as_ref();
            annotations.is_some_and(|annotations| annotations.contains_key(keys::ORIGINALS))
        };
        if !is_new || !is_rewritten() {
            return false;
        }
        let before = self.waiting.len();
        for used in uses(pod) {
            if self.waiting.len() < MAX_WAITING && self.seen.insert(id(&used), ()) {
                self.waiting.push_back(used);
            }
        }
        self.waiting.len() > before
    }
}

/// Uses of variants by a rewritten pod. A pod without an owner has none: its own annotation tells the same.
fn uses(pod: &Pod) -> Vec<Use> {
    let (Some(owner), Some(spec)) = (Owner::of(&pod.metadata), pod.spec.as_ref()) else { return Vec::new() };
    let Some(originals) = originals(&pod.metadata).filter(|_| !owner.is_bare_pod()) else {
        return Vec::new();
    };
    let (namespace, template) = (pod.metadata.namespace.clone().unwrap_or_default(), template_of(pod));
    let mut uses: Vec<Use> = Vec::new();
    for image in images(spec) {
        let Some(original) = recorded_original(&image, &originals) else { continue };
        let used = Use {
            namespace: namespace.clone(),
            owner: owner.clone(),
            template: template.clone(),
            original: original.to_owned(),
            variant: image.reference.clone(),
        };
        // Several containers may have one image.
        if !uses.contains(&used) {
            uses.push(used);
        }
    }
    uses
}

/// Publishes the events forever, at most 20 a second.
pub(crate) async fn announce(context: Arc<Context>, rollouts: Rollouts) {
    let mut turns = tokio::time::interval(SPACING);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    lock(&rollouts.state).since = Some(context.api_clock.now());
    // Before the first lists, no namespace is opted in, and no Deployment is known as an owner's owner.
    context.demand.wait_until_synced().await;
    // The pods of each run of a CronJob have a Job of their own.
    let mut told: BoundedMap<u64, ()> = BoundedMap::new(MAX_TOLD);
    loop {
        let used = rollouts.next().await;
        let Use { namespace, template, original, variant, .. } = &used;
        // An author of pods could write the annotation in any namespace.
        let target =
            context.demand.read(|demand| demand.is_opted_in(namespace).then(|| target(&used, demand)));
        let Some(target) = target else { continue };
        let id = id((&target.uid, &target.kind, &target.name, template, original, variant));
        if told.insert(id, ()) {
            turns.tick().await;
            let note =
                format!("new pods run {variant} in place of {original}: the same content in zstd layers");
            context.events.publish_use(&target, id, &note).await;
        }
    }
}

/// Object that the event is about: the owner of the pods, or the owner's own owner if that is watched.
fn target(used: &Use, demand: &Demand) -> ObjectReference {
    let Use { namespace, owner, template, .. } = used;
    let watched = |kind, name: &str| {
        demand.event_target(&Key { kind, namespace: namespace.clone(), name: name.to_owned() })
    };
    let higher = match (owner.group(), &*owner.kind) {
        ("apps", "ReplicaSet") => template
            .strip_prefix("pod-template-hash=")
            .and_then(|hash| watched(Kind::Deployment, deployment_name(&owner.name, hash)?)),
        // A Job of a CronJob is no target of events. A CronJob names its Jobs NAME-MINUTES
        // (`pkg/controller/cronjob/utils.go`, `getJobName`).
        ("batch", "Job") => watched(Kind::Job, &owner.name).or_else(|| {
            let (name, minutes) = owner.name.rsplit_once('-')?;
            let is_run = !minutes.is_empty() && minutes.bytes().all(|byte| byte.is_ascii_digit());
            watched(Kind::CronJob, name).filter(|_| is_run)
        }),
        _ => None,
    };
    higher.unwrap_or_else(|| ObjectReference {
        api_version: Some(owner.api_version.clone()),
        kind: Some(owner.kind.clone()),
        name: Some(owner.name.clone()),
        namespace: Some(namespace.clone()),
        uid: Some(owner.uid.clone()),
        ..ObjectReference::default()
    })
}

fn id(identity: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    identity.hash(&mut hasher);
    hasher.finish()
}

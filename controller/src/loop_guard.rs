//! Loop guard: finds owners that undo the rewrite of their pods again and again, and puts them on hold.
//!
//! Some operators compare the images of running pods with the images that they wrote. Zalando's
//! postgres-operator and Aerospike's operator delete pods with another image on every resync, every 30
//! minutes (zalando/postgres-operator#2622, #2436, aerospike-kubernetes-operator#402). vcluster changes the
//! image back (`pkg/controllers/resources/pods/translate/diff.go`), which restarts the container.
//!
//! [`Guard`] is a synchronous state machine: watch events go in, verdicts come out. `keep` carries the
//! verdicts out: it creates and deletes [`OwnerHold`] objects, which the webhook obeys.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource};
use serde::Deserialize;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use zstart_core::sync::lock;
use zstart_core::{OwnerHold, chain};
use zstart_process::watch;

use crate::context::Context;
use crate::demand::{SharedDemand, Workload};
use crate::metrics::Metrics;
use crate::watched::{PAGE_SIZE, UNFINISHED_PODS, WatchedPod, deserialize_metadata};

mod deletion;
mod guard;
mod holds;
mod owner_state;
mod pod;
mod removal;
#[cfg(test)]
mod tests;
mod verdict;

use guard::Removal;

pub use guard::Guard;
pub(crate) use pod::deployment_name;
pub use verdict::{Lift, NewHold, Verdict};

/// Interval between sweeps, which release the memory of owners without evidence and repeat the verdicts that failed.
const SWEEP_INTERVAL: Duration = Duration::from_mins(10);

/// Node, reduced to the members that the controller needs. A node's status lists the images on it and is
/// large.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = Node)]
pub struct NodeState {
    /// Metadata; the labels name the platform.
    #[serde(deserialize_with = "deserialize_metadata")]
    pub metadata: kube::core::ObjectMeta,
    /// Specification.
    #[serde(default)]
    pub spec: NodeStateSpec,
}

/// Specification of a node, reduced.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct NodeStateSpec {
    /// The node is cordoned.
    #[serde(default)]
    pub unschedulable: bool,
}

/// The guard behind a lock, which sends its verdicts to a task.
#[derive(Clone)]
pub struct LoopGuard {
    guard: Arc<Mutex<Guard>>,
    /// Verdicts are few: an owner gets the next one after new evidence.
    verdicts: UnboundedSender<Verdict>,
    demand: SharedDemand,
}

impl LoopGuard {
    /// Returns a guard that knows nothing, and its verdicts.
    pub fn new(demand: SharedDemand) -> (Self, UnboundedReceiver<Verdict>) {
        let (verdicts, received) = mpsc::unbounded_channel();
        (Self { guard: Arc::default(), verdicts, demand }, received)
    }

    /// Applies an event on unfinished pods. `client` tells deleted pods from finished ones.
    pub async fn observe_pods(&self, client: &Client, event: &Event<Pod>) {
        if let Event::Delete(pod) = event {
            let removal = lock(&self.guard).removal(pod);
            let is_finished = match removal {
                Removal::Deleted => false,
                Removal::Finished => true,
                Removal::Unclear => removal::is_finished(client, pod).await,
            };
            if is_finished {
                lock(&self.guard).forget_finished(pod);
                return;
            }
        }
        let verdicts = lock(&self.guard).apply_pod(event, Timestamp::now());
        self.send(verdicts);
    }

    fn send(&self, verdicts: Vec<Verdict>) {
        let is_opted_in = |namespace: &str| self.demand.read(|demand| demand.is_opted_in(namespace));
        for verdict in verdicts {
            // An author of pods could write the annotation in any namespace.
            if verdict.is_lift() || is_opted_in(verdict.namespace()) {
                // Only a controller that shuts down has no receiver.
                let _ = self.verdicts.send(verdict);
            }
        }
    }

    /// Applies an event on holds. Returns the namespaces of new holds that a new template ends.
    fn apply_hold(&self, event: Event<OwnerHold>, metrics: &Metrics) -> BTreeSet<String> {
        let mut guard = lock(&self.guard);
        let namespaces = guard.apply_hold(event);
        metrics.set_owner_holds(guard.holds());
        namespaces
    }

    /// Applies an event on workloads, whose scale can change.
    pub fn observe_workloads<W: Workload>(&self, event: &Event<W>) {
        lock(&self.guard).apply_workload(event, Timestamp::now());
    }

    /// Applies an event on nodes.
    pub fn observe_nodes(&self, event: &Event<NodeState>) {
        lock(&self.guard).apply_node(event);
    }
}

/// Makes up for verdicts that weren't carried out, because no replica led or the API server refused: they have no second
/// event. Compares the pods of all namespaces with the holds that a new template ends.
async fn catch_up(context: &Context, guard: &LoopGuard) {
    let (unwritten, namespaces) = {
        let guard = lock(&guard.guard);
        (guard.unwritten(), guard.held_namespaces())
    };
    guard.send(unwritten);
    compare(context, guard, namespaces).await;
}

/// Compares the pods of namespaces with their holds.
async fn compare(context: &Context, guard: &LoopGuard, namespaces: BTreeSet<String>) {
    for namespace in namespaces {
        compare_one(context, guard, &namespace).await;
    }
}

/// Compares the pods of a namespace with its holds.
async fn compare_one(context: &Context, guard: &LoopGuard, namespace: &str) {
    let pods: Api<WatchedPod> = Api::namespaced(context.client.clone(), namespace);
    let mut page = ListParams::default().fields(UNFINISHED_PODS).limit(PAGE_SIZE);
    loop {
        match pods.list(&page).await {
            Ok(list) => {
                let pods: Vec<Pod> = list.items.into_iter().map(Pod::from).collect();
                let verdicts = lock(&guard.guard).compare(&pods);
                guard.send(verdicts);
                page.continue_token = list.metadata.continue_.filter(|token| !token.is_empty());
                if page.continue_token.is_none() {
                    return;
                }
            }
            // The next sweep makes up for it.
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(
                    namespace,
                    error,
                    "failed to compare the pods of a namespace with the owner holds"
                );
                return;
            }
        }
    }
}

/// Carries out the verdicts forever, and keeps the guard informed of the holds. Every replica observes; only the
/// leader, which sees the same pods, writes.
pub(crate) async fn keep(context: Arc<Context>, guard: LoopGuard, mut verdicts: UnboundedReceiver<Verdict>) {
    let all: Api<DeserializeGuard<OwnerHold>> = Api::all(context.client.clone());
    let mut events = watch::events("ownerholds", all, watcher::Config::default());
    let mut sweeps = tokio::time::interval(SWEEP_INTERVAL);
    let mut begin = pin!(context.leadership.begun().fuse());
    loop {
        tokio::select! {
            () = &mut begin => catch_up(&context, &guard).await,
            event = events.next() => {
                let Some(event) = event else { return };
                let Some(event) = readable(event) else { continue };
                let namespaces = guard.apply_hold(event, &context.metrics);
                compare(&context, &guard, namespaces).await;
            }
            verdict = verdicts.recv() => {
                let Some(verdict) = verdict else { return };
                if !context.leadership.is_current() || !holds::carry_out(&context, &verdict).await {
                    lock(&guard.guard).take_back(verdict, Timestamp::now());
                }
            }
            _ = sweeps.tick() => {
                lock(&guard.guard).sweep(Timestamp::now());
                if context.leadership.is_current() {
                    catch_up(&context, &guard).await;
                }
            }
        }
    }
}

/// Drops an object that this version can't read, e.g. a hold with a reason of a newer version.
fn readable(event: Event<DeserializeGuard<OwnerHold>>) -> Option<Event<OwnerHold>> {
    let read = |hold: DeserializeGuard<OwnerHold>| match hold.0 {
        Ok(hold) => Some(hold),
        Err(error) => {
            let (namespace, name) = (error.metadata.namespace.as_ref(), error.metadata.name.as_ref());
            tracing::warn!(namespace, hold = name, %error, "ignoring an unreadable hold");
            None
        }
    };
    Some(match event {
        Event::Apply(hold) => Event::Apply(read(hold)?),
        Event::Delete(hold) => Event::Delete(read(hold)?),
        Event::InitApply(hold) => Event::InitApply(read(hold)?),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    })
}

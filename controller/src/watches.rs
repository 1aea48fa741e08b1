//! The watches that fill the demand and inform the loop guard and the healer.

use std::collections::BTreeSet;
use std::time::Instant;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Client};
use zstart_core::eligibility::pod::ControllerKind;
use zstart_process::watch;

use crate::api_clock::ApiClock;
use crate::demand::{Exclusions, LookTime, SharedDemand};
use crate::heal::Healer;
use crate::loop_guard::{LoopGuard, NodeState};
use crate::rollouts::Rollouts;
use crate::watched::{PAGE_SIZE, TemplateOwner, UNFINISHED_PODS, WatchedPod, WatchedWorkload};

/// Keeps `demand` and `guard` up to date forever, and shows `healer` and `rollouts` every pod.
pub async fn follow(
    client: Client,
    demand: SharedDemand,
    guard: LoopGuard,
    healer: Healer,
    rollouts: Rollouts,
    exclusions: Exclusions,
    clock: ApiClock,
) {
    let Exclusions { namespaces: excluded, allowed_controllers: allowed } = &exclusions;
    // Metadata is enough: labels decide.
    let namespaces = Api::<PartialObjectMeta<Namespace>>::all(client.clone());
    let nodes = Api::<NodeState>::all(client.clone());
    let observers = Observers {
        client: &client,
        demand: &demand,
        guard: &guard,
        healer: &healer,
        rollouts: &rollouts,
        clock: &clock,
    };
    tokio::join!(
        pods(&observers, allowed),
        workloads::<Deployment>(&observers, allowed, "deployments"),
        workloads::<StatefulSet>(&observers, allowed, "statefulsets"),
        workloads::<DaemonSet>(&observers, allowed, "daemonsets"),
        workloads::<Job>(&observers, allowed, "jobs"),
        workloads::<CronJob>(&observers, allowed, "cronjobs"),
        watch::drain("namespaces", namespaces, config(), |event| {
            demand.change(|demand| demand.apply_namespace(event, excluded, look_time(&clock).instant));
        }),
        watch::drain("nodes", nodes, config(), |event| {
            guard.observe_nodes(&event);
            demand.change(|demand| demand.apply_node(event, Timestamp::now()));
        }),
    );
}

fn config() -> Config {
    Config::default().page_size(PAGE_SIZE)
}

/// Receivers of the events of workloads.
struct Observers<'a> {
    client: &'a Client,
    demand: &'a SharedDemand,
    guard: &'a LoopGuard,
    healer: &'a Healer,
    rollouts: &'a Rollouts,
    clock: &'a ApiClock,
}

async fn pods(observers: &Observers<'_>, allowed: &BTreeSet<ControllerKind>) {
    let api = Api::<WatchedPod>::all(observers.client.clone());
    let mut events = watch::events("pods", api, config().fields(UNFINISHED_PODS));
    while let Some(event) = events.next().await {
        let event = full_pod(event);
        if matches!(event, Event::InitDone) {
            tracing::info!(resource = "pods", "listed all objects");
        }
        observers.healer.observe_pods(&event);
        observers.rollouts.observe_pods(&event);
        observers.guard.observe_pods(observers.client, &event).await;
        let time = look_time(observers.clock);
        observers.demand.change(|demand| demand.apply_workload(event, allowed, time));
    }
}

/// The event with the pod in the type of `k8s-openapi`.
fn full_pod(event: Event<WatchedPod>) -> Event<Pod> {
    match event {
        Event::Apply(pod) => Event::Apply(pod.into()),
        Event::Delete(pod) => Event::Delete(pod.into()),
        Event::InitApply(pod) => Event::InitApply(pod.into()),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    }
}

async fn workloads<K: TemplateOwner>(
    observers: &Observers<'_>,
    allowed: &BTreeSet<ControllerKind>,
    resource: &'static str,
) {
    watch::drain(resource, Api::<WatchedWorkload<K>>::all(observers.client.clone()), config(), |event| {
        observers.guard.observe_workloads(&event);
        let time = look_time(observers.clock);
        observers.demand.change(|demand| demand.apply_workload(event, allowed, time));
    })
    .await;
}

/// Time of the look for a change that a watch reports now.
fn look_time(clock: &ApiClock) -> LookTime {
    let time = LookTime::after_change(Instant::now(), clock.now());
    LookTime { instant: time.instant + clock.uncertainty(), ..time }
}

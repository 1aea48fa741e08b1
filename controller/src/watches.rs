//! The watches that fill the demand and inform the loop guard and the healer.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Instant;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Config;
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use zstart_core::eligibility::pod::ControllerKind;
use zstart_process::watch;

use crate::api_clock::ApiClock;
use crate::demand::{Exclusions, SharedDemand, Workload, look_time};
use crate::heal::Healer;
use crate::loop_guard::{LoopGuard, NodeState};

/// Keeps `demand` and `guard` up to date forever, and shows `healer` every pod.
pub async fn follow(
    client: Client,
    demand: SharedDemand,
    guard: LoopGuard,
    healer: Healer,
    exclusions: Exclusions,
    clock: ApiClock,
) {
    let Exclusions { namespaces: excluded, allowed_controllers: allowed } = &exclusions;
    // Metadata is enough: labels decide.
    let namespaces = Api::<PartialObjectMeta<Namespace>>::all(client.clone());
    let nodes = Api::<NodeState>::all(client.clone());
    let observers = Observers { client: &client, demand: &demand, guard: &guard, clock: &clock };
    tokio::join!(
        watch::drain("pods", Api::<Pod>::all(client.clone()), Config::default(), |event| {
            guard.observe_pods(&event);
            healer.observe_pods(&event);
            demand.change(|demand| demand.apply_workload(event, allowed, look_time_now(&clock)));
        }),
        workloads::<Deployment>(&observers, allowed, "deployments"),
        workloads::<StatefulSet>(&observers, allowed, "statefulsets"),
        workloads::<DaemonSet>(&observers, allowed, "daemonsets"),
        workloads::<Job>(&observers, allowed, "jobs"),
        workloads::<CronJob>(&observers, allowed, "cronjobs"),
        watch::drain("namespaces", namespaces, Config::default(), |event| {
            demand.change(|demand| demand.apply_namespace(event, excluded, look_time_now(&clock)));
        }),
        watch::drain("nodes", nodes, Config::default(), |event| {
            guard.observe_nodes(&event);
            demand.change(|demand| demand.apply_node(event));
        }),
    );
}

/// Receivers of the events of workloads.
struct Observers<'a> {
    client: &'a Client,
    demand: &'a SharedDemand,
    guard: &'a LoopGuard,
    clock: &'a ApiClock,
}

async fn workloads<W>(observers: &Observers<'_>, allowed: &BTreeSet<ControllerKind>, resource: &'static str)
where
    W: Workload + Clone + Debug + DeserializeOwned + Send + 'static,
{
    watch::drain(resource, Api::<W>::all(observers.client.clone()), Config::default(), |event| {
        observers.guard.observe_workloads(&event);
        let time = look_time_now(observers.clock);
        observers.demand.change(|demand| demand.apply_workload(event, allowed, time));
    })
    .await;
}

/// Time of the look for a change that a watch reports now.
fn look_time_now(clock: &ApiClock) -> Instant {
    look_time(Instant::now(), clock.now()) + clock.uncertainty()
}

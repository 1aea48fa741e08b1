//! The watches that fill the demand and inform the loop guard.

use std::collections::BTreeSet;
use std::fmt::Debug;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Config;
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use zstart_core::eligibility::pod::ControllerKind;
use zstart_process::watch;

use crate::demand::{Exclusions, SharedDemand, Workload};
use crate::loop_guard::{LoopGuard, NodeState};

/// Keeps `demand` and `guard` up to date forever.
pub async fn follow(client: Client, demand: SharedDemand, guard: LoopGuard, exclusions: Exclusions) {
    let Exclusions { namespaces: excluded, allowed_controllers: allowed } = &exclusions;
    // Metadata is enough: labels decide.
    let namespaces = Api::<PartialObjectMeta<Namespace>>::all(client.clone());
    let nodes = Api::<NodeState>::all(client.clone());
    tokio::join!(
        watch::drain("pods", Api::<Pod>::all(client.clone()), Config::default(), |event| {
            guard.observe_pods(&event);
            demand.change(|demand| demand.apply_workload(event, allowed));
        }),
        workloads::<Deployment>(&client, &demand, &guard, allowed, "deployments"),
        workloads::<StatefulSet>(&client, &demand, &guard, allowed, "statefulsets"),
        workloads::<DaemonSet>(&client, &demand, &guard, allowed, "daemonsets"),
        workloads::<Job>(&client, &demand, &guard, allowed, "jobs"),
        workloads::<CronJob>(&client, &demand, &guard, allowed, "cronjobs"),
        watch::drain("namespaces", namespaces, Config::default(), |event| {
            demand.change(|demand| demand.apply_namespace(event, excluded));
        }),
        watch::drain("nodes", nodes, Config::default(), |event| {
            guard.observe_nodes(&event);
            demand.change(|demand| demand.apply_node(event));
        }),
    );
}

async fn workloads<W>(
    client: &Client,
    demand: &SharedDemand,
    guard: &LoopGuard,
    allowed: &BTreeSet<ControllerKind>,
    resource: &'static str,
) where
    W: Workload + Clone + Debug + DeserializeOwned + Send + 'static,
{
    watch::drain(resource, Api::<W>::all(client.clone()), Config::default(), |event| {
        guard.observe_workloads(&event);
        demand.change(|demand| demand.apply_workload(event, allowed));
    })
    .await;
}

//! The watches that fill the demand.

use std::collections::BTreeSet;
use std::fmt::Debug;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Config;
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use zstart_core::eligibility::pod::ControllerKind;
use zstart_process::watch;

use crate::demand::{Exclusions, SharedDemand, Workload};

/// Keeps `demand` up to date forever.
pub async fn follow(client: Client, demand: SharedDemand, exclusions: Exclusions) {
    let Exclusions { namespaces: excluded, allowed_controllers: allowed } = &exclusions;
    // Metadata is enough of both: labels decide.
    let namespaces = Api::<PartialObjectMeta<Namespace>>::all(client.clone());
    let nodes = Api::<PartialObjectMeta<Node>>::all(client.clone());
    tokio::join!(
        workloads::<Pod>(&client, &demand, allowed, "pods"),
        workloads::<Deployment>(&client, &demand, allowed, "deployments"),
        workloads::<StatefulSet>(&client, &demand, allowed, "statefulsets"),
        workloads::<DaemonSet>(&client, &demand, allowed, "daemonsets"),
        workloads::<Job>(&client, &demand, allowed, "jobs"),
        workloads::<CronJob>(&client, &demand, allowed, "cronjobs"),
        watch::drain("namespaces", namespaces, Config::default(), |event| {
            demand.change(|demand| demand.apply_namespace(event, excluded));
        }),
        watch::drain("nodes", nodes, Config::default(), |event| {
            demand.change(|demand| demand.apply_node(event));
        }),
    );
}

async fn workloads<W>(
    client: &Client,
    demand: &SharedDemand,
    allowed: &BTreeSet<ControllerKind>,
    resource: &'static str,
) where
    W: Workload + Clone + Debug + DeserializeOwned + Send + 'static,
{
    watch::drain(resource, Api::<W>::all(client.clone()), Config::default(), |event| {
        demand.change(|demand| demand.apply_workload(event, allowed));
    })
    .await;
}

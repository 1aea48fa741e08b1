//! Live data that a decision about one pod needs, as the webhook's watches would deliver it.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, ReplicaSet};
use k8s_openapi::api::core::v1::{Namespace, Node};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Api;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::watcher::Event;
use zstart_admission::decision::images;
use zstart_admission::snapshot::Snapshot;
use zstart_admission::snapshot::watch::ReadRecord;
use zstart_core::owner_hold::OwnerHold;
use zstart_core::record::record_name;
use zstart_core::sweep::SWEEP;
use zstart_core::{FreshnessSweep, Reference, originals};

use super::Subject;
use crate::cluster::{Cluster, ClusterError, is_forbidden, is_missing, list_all, request};

/// Fills a snapshot, and returns remarks about data that the user may not read.
pub(super) async fn of(
    cluster: &Cluster,
    subject: &Subject,
    records: &[ReadRecord],
) -> Result<(Snapshot, Vec<String>), ClusterError> {
    let (snapshot, mut remarks) = (Snapshot::default(), Vec::new());
    let client = || cluster.client.clone();
    let namespace = &subject.namespace;

    let namespaces = Api::<Namespace>::all(client());
    let found =
        namespaces.get_metadata(namespace).await.map_err(request(format!("read namespace {namespace}")))?;
    snapshot.apply_namespace(Event::Apply(found));
    for record in records {
        snapshot.apply_record(Event::Apply(record.clone()));
    }
    // Before the controller's first sweep, there is none.
    if let Some(sweep) = Api::<FreshnessSweep>::all(client())
        .get_opt(SWEEP)
        .await
        .map_err(request("read the freshness sweep".to_owned()))?
    {
        snapshot.apply_sweep(Event::Apply(DeserializeGuard(Ok(sweep))));
    }
    let nodes = Api::<Node>::all(client());
    let found = list_all(async |page| nodes.list(page).await).await.map_err(request("list nodes"))?;
    for node in found {
        snapshot.apply_node(Event::Apply(node));
    }
    let mut optional = |kind: &str, error: kube::Error| {
        if is_forbidden(&error) || is_missing(&error) {
            remarks.push(format!("{kind} in namespace {namespace} can't be read: the decision assumes none"));
            Ok(())
        } else {
            Err(request(format!("list {kind}"))(error))
        }
    };
    // The ReplicaSet that a Deployment's manifest will make doesn't exist, and an unknown one counts as newer than
    // each look at a tag. The decision is about the pods after the look.
    if let Some(name) = subject.future_replica_set.clone() {
        let metadata = ObjectMeta {
            name: Some(name),
            namespace: Some(namespace.clone()),
            creation_timestamp: Some(Time(Timestamp::UNIX_EPOCH)),
            ..ObjectMeta::default()
        };
        snapshot
            .apply_replica_set(Event::Apply(PartialObjectMeta { metadata, ..PartialObjectMeta::default() }));
    }
    let api = Api::<ReplicaSet>::namespaced(client(), namespace);
    match list_all(async |page| api.list_metadata(page).await).await {
        Ok(found) => found.into_iter().for_each(|found| snapshot.apply_replica_set(Event::Apply(found))),
        Err(error) => optional("ReplicaSets", error)?,
    }
    let api = Api::<ControllerRevision>::namespaced(client(), namespace);
    match list_all(async |page| api.list_metadata(page).await).await {
        Ok(found) => found.into_iter().for_each(|found| snapshot.apply_revision(Event::Apply(found))),
        Err(error) => optional("ControllerRevisions", error)?,
    }
    // The hold of a node is in zstart's namespace.
    let (all, own) = (Api::<OwnerHold>::all(client()), Api::<OwnerHold>::namespaced(client(), namespace));
    let found = match list_all(async |page| all.list(page).await).await {
        Err(error) if is_forbidden(&error) => list_all(async |page| own.list(page).await).await,
        found => found,
    };
    match found {
        Ok(found) => {
            for hold in found {
                snapshot.apply_hold(Event::Apply(DeserializeGuard(Ok(hold))));
            }
        }
        Err(error) => optional("OwnerHolds", error)?,
    }
    Ok((snapshot, remarks))
}

/// Reads the records of the pod's images, and of the originals of images that were rewritten.
pub(super) async fn records(cluster: &Cluster, subject: &Subject) -> Result<Vec<ReadRecord>, ClusterError> {
    let api = Api::<ReadRecord>::all(cluster.client.clone());
    let written = images(&subject.pod).into_iter().map(|image| image.reference);
    let originals = originals(&subject.pod.metadata).unwrap_or_default().into_values();
    let mut names: Vec<String> = written
        .chain(originals)
        .filter_map(|reference| reference.parse::<Reference>().ok())
        .map(|source| record_name(&source))
        .collect();
    names.sort();
    names.dedup();
    let mut records = Vec::new();
    for name in names {
        match api.get(&name).await {
            Ok(record) => records.push(record),
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(request(format!("read the conversion record {name}"))(error)),
        }
    }
    Ok(records)
}

//! The watches that keep a snapshot up to date.

use k8s_openapi::api::apps::v1::{ControllerRevision, ReplicaSet};
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::watcher::Config;
use kube::{Api, Client};
use zstart_core::{ImageConversion, keys};
use zstart_process::watch;

use super::Snapshot;

/// A record, or the reason why it can't be read. One unreadable record must not fail the watch of all.
pub type ReadRecord = DeserializeGuard<ImageConversion>;

/// Keeps `snapshot` up to date forever. While a watch is down, its last objects stay in use: records
/// expire on their own.
pub async fn follow(client: Client, snapshot: &Snapshot) {
    let opted_in =
        Config::default().labels(&format!("{} in ({}, {})", keys::REWRITE, keys::ENABLED, keys::AUDIT));
    let namespaces = Api::<PartialObjectMeta<Namespace>>::all(client.clone());
    let records = Api::<ReadRecord>::all(client.clone());
    let replica_sets = Api::<PartialObjectMeta<ReplicaSet>>::all(client.clone());
    let revisions = Api::<PartialObjectMeta<ControllerRevision>>::all(client.clone());
    let nodes = Api::<Node>::all(client);
    let all = Config::default;
    futures::join!(
        watch::drain("namespaces", namespaces, opted_in, |event| snapshot.apply_namespace(event)),
        watch::drain("imageconversions", records, all(), |event| snapshot.apply_record(event)),
        watch::drain("nodes", nodes, all(), |event| snapshot.apply_node(event)),
        watch::drain("replicasets", replica_sets, all(), |event| snapshot.apply_replica_set(event)),
        watch::drain("controllerrevisions", revisions, all(), |event| snapshot.apply_revision(event)),
    );
}

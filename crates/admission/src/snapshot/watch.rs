//! The watches that keep a snapshot up to date.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{ControllerRevision, ReplicaSet};
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::watcher::Config;
use kube::{Api, Client, Resource};
use zstart_core::owner_hold::OwnerHold;
use zstart_core::{FreshnessSweep, ImageConversion, keys};
use zstart_process::watch::{self, Heard};

use super::Snapshot;

/// A record, or the reason why it can't be read. One unreadable record must not fail the watch of all.
pub type ReadRecord = DeserializeGuard<ImageConversion>;

/// Seconds after which the API server ends a watch, and the watch starts again. The start is a sign of life,
/// also if the API server sends no bookmarks. A connection that is silent for longer is given up.
const WATCH_SECONDS: u32 = 120;

/// Nodes in one part of their list. A node has up to 20 KiB, mostly names of images, so that the 500 objects of a
/// usual part would take 20 MiB while they are read.
const NODES_PER_PAGE: u32 = 50;

/// Kinds that decisions depend on, with the path of their lists and watches.
fn paths() -> [(&'static str, String); 7] {
    [
        ("namespaces", Namespace::url_path(&(), None)),
        ("imageconversions", ImageConversion::url_path(&(), None)),
        ("freshnesssweeps", FreshnessSweep::url_path(&(), None)),
        ("nodes", Node::url_path(&(), None)),
        ("replicasets", ReplicaSet::url_path(&(), None)),
        ("controllerrevisions", ControllerRevision::url_path(&(), None)),
        ("ownerholds", OwnerHold::url_path(&(), None)),
    ]
}

/// Ages of a snapshot's caches: the API server may be away, or a connection silent.
#[derive(Debug)]
pub struct CacheAges {
    heard: Heard,
    paths: [(&'static str, String); 7],
}

impl CacheAges {
    /// Reads the ages from the signs of life that `heard` notes.
    pub fn new(heard: Heard) -> Self {
        Self { heard, paths: paths() }
    }

    /// Kinds that decisions depend on.
    pub fn kinds() -> impl Iterator<Item = &'static str> {
        paths().into_iter().map(|(kind, _)| kind)
    }

    /// Time since the API server was last heard, by kind. A kind that was never heard is left out.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        self.paths.iter().filter_map(|(kind, path)| Some((*kind, self.heard.silence(path)?)))
    }

    /// Returns a kind whose cache is older than `max_age`, if there is one.
    pub fn stale(&self, max_age: Duration) -> Option<&'static str> {
        self.all().find(|(_, age)| *age > max_age).map(|(kind, _)| kind)
    }
}

/// Keeps `snapshot` up to date forever. While a watch is down, its last objects stay in use: the caches' ages
/// bound for how long.
pub async fn follow(client: Client, snapshot: &Snapshot) {
    let all = || Config::default().timeout(WATCH_SECONDS);
    let opted_in = all().labels(&format!("{} in ({}, {})", keys::REWRITE, keys::ENABLED, keys::AUDIT));
    let namespaces = Api::<PartialObjectMeta<Namespace>>::all(client.clone());
    let records = Api::<ReadRecord>::all(client.clone());
    let sweeps = Api::<DeserializeGuard<FreshnessSweep>>::all(client.clone());
    let replica_sets = Api::<PartialObjectMeta<ReplicaSet>>::all(client.clone());
    let revisions = Api::<PartialObjectMeta<ControllerRevision>>::all(client.clone());
    let holds = Api::<DeserializeGuard<OwnerHold>>::all(client.clone());
    let nodes = Api::<Node>::all(client);
    futures::join!(
        watch::drain("namespaces", namespaces, opted_in, |event| snapshot.apply_namespace(event)),
        watch::drain("imageconversions", records, all(), |event| snapshot.apply_record(event)),
        watch::drain("freshnesssweeps", sweeps, all(), |event| snapshot.apply_sweep(event)),
        watch::drain("nodes", nodes, all().page_size(NODES_PER_PAGE), |event| snapshot.apply_node(event)),
        watch::drain("replicasets", replica_sets, all(), |event| snapshot.apply_replica_set(event)),
        watch::drain("controllerrevisions", revisions, all(), |event| snapshot.apply_revision(event)),
        watch::drain("ownerholds", holds, all(), |event| snapshot.apply_hold(event)),
    );
}

//! What the webhook knows of the cluster: opted-in namespaces, conversion records and nodes.
//!
//! A synchronous state machine: watch events go in, answers come out, and tests need no API server.
//! Objects are reduced before they are kept.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use k8s_openapi::api::core::v1::{Namespace, Node as ApiNode};
use kube::ResourceExt as _;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use zstart_core::eligibility::{CandidateNodes, Node, Placement, RecordView};
use zstart_core::record::record_name;
use zstart_core::{ImageConversion, Reference, keys};
use zstart_process::watch::WatchCache;

#[cfg(test)]
mod tests;
pub mod watch;

/// How far a namespace is opted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Pods are rewritten.
    Enabled,
    /// Decisions are made and reported, pods stay as they came.
    Audit,
}

/// The cluster as last seen. Shared between the watches, which write, and reviews, which read.
#[derive(Debug, Default)]
pub struct Snapshot {
    namespaces: RwLock<WatchCache<String, Mode>>,
    records: RwLock<WatchCache<String, Arc<RecordView>>>,
    nodes: RwLock<WatchCache<String, Node>>,
}

/// How many objects are kept of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Opted-in namespaces.
    pub namespaces: usize,
    /// Conversion records.
    pub records: usize,
    /// Nodes.
    pub nodes: usize,
}

impl Snapshot {
    /// How far this namespace is opted in; `None` where it isn't.
    pub fn mode(&self, namespace: &str) -> Option<Mode> {
        read(&self.namespaces).get(namespace).copied()
    }

    /// The record of this source.
    pub fn record(&self, source: &Reference) -> Option<Arc<RecordView>> {
        let records = read(&self.records);
        // The name is a hash of the identity; that it says the same source costs nothing to see.
        records.get(&record_name(source)).filter(|record| *record.source() == source.identity()).cloned()
    }

    /// What the nodes that a pod could land on have in common.
    pub fn candidate_nodes(&self, placement: &Placement<'_>) -> CandidateNodes {
        let nodes = read(&self.nodes);
        // DaemonSet pods and pods that exist already name their node.
        match placement.node_name().or_else(|| placement.pinned_node()) {
            Some(name) => placement.candidate_nodes(nodes.get(name)),
            None => placement.candidate_nodes(nodes.values()),
        }
    }

    /// Whether every kind was listed once in full.
    pub fn is_synced(&self) -> bool {
        read(&self.namespaces).is_synced() && read(&self.records).is_synced() && read(&self.nodes).is_synced()
    }

    /// How many objects are kept.
    pub fn sizes(&self) -> Sizes {
        Sizes {
            namespaces: read(&self.namespaces).len(),
            records: read(&self.records).len(),
            nodes: read(&self.nodes).len(),
        }
    }

    /// Takes in an event on namespaces.
    pub fn apply_namespace(&self, event: Event<PartialObjectMeta<Namespace>>) {
        write(&self.namespaces).apply(event, |namespace| {
            let mode = match namespace.labels().get(keys::REWRITE).map(String::as_str) {
                Some(keys::ENABLED) => Some(Mode::Enabled),
                Some(keys::AUDIT) => Some(Mode::Audit),
                _ => None,
            };
            (namespace.name_any(), mode)
        });
    }

    /// Takes in an event on records. One that can't be read counts as absent.
    pub fn apply_record(&self, event: Event<watch::ReadRecord>) {
        write(&self.records).apply(event, |record| {
            let name = record.name_any();
            let view = |record: ImageConversion| Arc::new(RecordView::from(record));
            match record.0 {
                Ok(record) => (name, Some(view(record))),
                Err(error) => {
                    tracing::warn!(record = name, error = %error, "a record can't be read and is left out");
                    (name, None)
                }
            }
        });
    }

    /// Takes in an event on nodes.
    pub fn apply_node(&self, event: Event<ApiNode>) {
        write(&self.nodes).apply(event, |node| {
            let node = Node::from(node);
            (node.name.clone(), Some(node))
        });
    }
}

// A lock is poisoned where a thread panicked while it held it. What it guards is replaced whole or
// by one insertion, so it is sound then, and admission goes on.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

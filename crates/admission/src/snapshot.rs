//! The webhook's view of the cluster: opted-in namespaces, conversion records and nodes.
//!
//! [`Snapshot`] is a synchronous state machine: watch events go in, answers come out. Its tests need no API
//! server. Objects are reduced before they are stored.

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

/// Mode of an opted-in namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Pods are rewritten.
    Enabled,
    /// Decisions are reported, pods are not changed.
    Audit,
}

/// The last known state of the cluster. Watches write, reviews read.
#[derive(Debug, Default)]
pub struct Snapshot {
    namespaces: RwLock<WatchCache<String, Mode>>,
    records: RwLock<WatchCache<String, Arc<RecordView>>>,
    nodes: RwLock<WatchCache<String, Node>>,
}

/// Number of stored objects by kind.
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
    /// Mode of a namespace; `None` if the namespace is not opted in.
    pub fn mode(&self, namespace: &str) -> Option<Mode> {
        read(&self.namespaces).get(namespace).copied()
    }

    /// The record of a source.
    pub fn record(&self, source: &Reference) -> Option<Arc<RecordView>> {
        let records = read(&self.records);
        // The name is a hash of the identity. Comparing the source too is cheap.
        records.get(&record_name(source)).filter(|record| *record.source() == source.identity()).cloned()
    }

    /// Common properties of the candidate nodes of a pod.
    pub fn candidate_nodes(&self, placement: &Placement<'_>) -> CandidateNodes {
        let nodes = read(&self.nodes);
        // DaemonSet pods and existing pods name their node.
        match placement.node_name().or_else(|| placement.pinned_node()) {
            Some(name) => placement.candidate_nodes(nodes.get(name)),
            None => placement.candidate_nodes(nodes.values()),
        }
    }

    /// Whether every kind was listed at least once.
    pub fn is_synced(&self) -> bool {
        read(&self.namespaces).is_synced() && read(&self.records).is_synced() && read(&self.nodes).is_synced()
    }

    /// Number of stored objects.
    pub fn sizes(&self) -> Sizes {
        Sizes {
            namespaces: read(&self.namespaces).len(),
            records: read(&self.records).len(),
            nodes: read(&self.nodes).len(),
        }
    }

    /// Applies an event on namespaces.
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

    /// Applies an event on records. An unreadable record counts as absent.
    pub fn apply_record(&self, event: Event<watch::ReadRecord>) {
        write(&self.records).apply(event, |record| {
            let name = record.name_any();
            let view = |record: ImageConversion| Arc::new(RecordView::from(record));
            match record.0 {
                Ok(record) => (name, Some(view(record))),
                Err(error) => {
                    tracing::warn!(record = name, error = %error, "ignoring an unreadable record");
                    (name, None)
                }
            }
        });
    }

    /// Applies an event on nodes.
    pub fn apply_node(&self, event: Event<ApiNode>) {
        write(&self.nodes).apply(event, |node| {
            let node = Node::from(node);
            (node.name.clone(), Some(node))
        });
    }
}

// A thread that panics while it holds a lock poisons the lock. The caches change by replacement or by a single
// insertion, so they are consistent even then, and admission continues.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

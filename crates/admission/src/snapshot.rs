//! The webhook's view of the cluster: opted-in namespaces, conversion records and nodes.
//!
//! [`Snapshot`] is a synchronous state machine: watch events go in, answers come out. Its tests need no API
//! server. Objects are reduced before they are stored.

use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use k8s_openapi::api::apps::v1::{ControllerRevision, ReplicaSet};
use k8s_openapi::api::core::v1::{Namespace, Node as ApiNode, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt as _};
use zstart_core::eligibility::{Candidates, NodeSet, RecordView};
use zstart_core::owner_hold::{Owner, OwnerHold, OwnerHoldSpec, hold_name};
use zstart_core::record::record_name;
use zstart_core::sweep::{SWEEP, SweepView};
use zstart_core::{FreshnessSweep, ImageConversion, Reference, keys};
use zstart_process::watch::WatchCache;

use self::nodes::NodeCache;
use self::template::{Revisions, TemplateTime};

mod node_images;
mod nodes;
pub mod template;
#[cfg(test)]
mod tests;
pub mod watch;

/// Label of a namespace whose images must be signed (Sigstore's policy-controller).
const SIGNATURE_LABEL: &str = "policy.sigstore.dev/include";

/// Mode of an opted-in namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Pods are rewritten.
    Enabled,
    /// Decisions are reported, pods are not changed.
    Audit,
}

/// Opted-in namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamespaceView {
    /// Mode of the namespace.
    pub mode: Mode,
    /// A policy requires signatures of the namespace's images.
    pub requires_signature: bool,
}

impl NamespaceView {
    /// Returns whether decisions are only reported.
    pub fn is_audited(self) -> bool {
        self.mode == Mode::Audit
    }

    /// Value of the label [`keys::REWRITE`].
    pub fn label(self) -> &'static str {
        match self.mode {
            Mode::Enabled => keys::ENABLED,
            Mode::Audit => keys::AUDIT,
        }
    }
}

/// The last known state of the cluster. Watches write, reviews read.
#[derive(Debug, Default)]
pub struct Snapshot {
    namespaces: RwLock<WatchCache<String, NamespaceView>>,
    records: RwLock<WatchCache<String, Arc<RecordView>>>,
    sweep: RwLock<WatchCache<String, Arc<SweepView>>>,
    nodes: RwLock<NodeCache>,
    replica_sets: RwLock<Revisions>,
    revisions: RwLock<Revisions>,
    holds: RwLock<WatchCache<String, Arc<OwnerHoldSpec>>>,
}

/// Nodes, locked against changes.
#[derive(Debug)]
pub struct Nodes<'a>(RwLockReadGuard<'a, NodeCache>);

impl Nodes<'_> {
    /// Returns whether a candidate node reports the image, and so starts it without a registry.
    pub fn report(&self, candidates: &Candidates<'_>, image: &Reference) -> bool {
        self.0.report(candidates, image)
    }
}

impl Deref for Nodes<'_> {
    type Target = NodeSet;

    fn deref(&self) -> &NodeSet {
        self.0.nodes()
    }
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
    /// Classes of equal nodes.
    pub node_classes: usize,
    /// `ReplicaSets` and `ControllerRevisions`.
    pub revisions: usize,
    /// Holds of the loop guard.
    pub holds: usize,
}

impl Snapshot {
    /// View of a namespace; `None` if the namespace is not opted in.
    pub fn namespace(&self, namespace: &str) -> Option<NamespaceView> {
        read(&self.namespaces).get(namespace).copied()
    }

    /// The record of a source.
    pub fn record(&self, source: &Reference) -> Option<Arc<RecordView>> {
        let records = read(&self.records);
        let found = records.get(&record_name(source))?;
        // The name holds a part of a hash. Comparing the source too is cheap.
        (found.source() == source.identity().to_string()).then(|| Arc::clone(found))
    }

    /// Confirmations that the records don't tell, and the registries that don't answer. Empty before the controller's
    /// first sweep: then only the records' own times count.
    pub fn sweep(&self) -> Arc<SweepView> {
        read(&self.sweep).get(SWEEP).cloned().unwrap_or_default()
    }

    /// All nodes. Watches wait until the result is dropped.
    pub fn nodes(&self) -> Nodes<'_> {
        Nodes(read(&self.nodes))
    }

    /// Time of the template of a pod in `namespace`.
    pub fn template_time(&self, pod: &Pod, namespace: &str) -> TemplateTime {
        template::template_time(pod, namespace, &read(&self.replica_sets), &read(&self.revisions))
    }

    /// The hold that applies to a pod in `namespace`, if the loop guard made one.
    pub fn hold(&self, pod: &ObjectMeta, namespace: &str) -> Option<Arc<OwnerHoldSpec>> {
        let holds = read(&self.holds);
        if holds.is_empty() {
            return None;
        }
        let name = hold_name(&Owner::of(pod)?);
        holds.get(&*format!("{namespace}/{name}")).filter(|hold| hold.applies_to(pod)).cloned()
    }

    /// Returns whether every kind was listed at least once.
    pub fn is_synced(&self) -> bool {
        read(&self.namespaces).is_synced()
            && read(&self.records).is_synced()
            && read(&self.sweep).is_synced()
            && read(&self.nodes).is_synced()
            && read(&self.replica_sets).is_synced()
            && read(&self.revisions).is_synced()
            && read(&self.holds).is_synced()
    }

    /// Number of stored objects.
    pub fn sizes(&self) -> Sizes {
        Sizes {
            namespaces: read(&self.namespaces).len(),
            records: read(&self.records).len(),
            nodes: read(&self.nodes).nodes().len(),
            node_classes: read(&self.nodes).nodes().classes(),
            revisions: read(&self.replica_sets).len() + read(&self.revisions).len(),
            holds: read(&self.holds).len(),
        }
    }

    /// Applies an event on namespaces.
    pub fn apply_namespace(&self, event: Event<PartialObjectMeta<Namespace>>) {
        write(&self.namespaces).apply(event, |namespace| {
            let label = |key: &str| namespace.labels().get(key).map(String::as_str);
            let mode = match label(keys::REWRITE) {
                Some(keys::ENABLED) => Some(Mode::Enabled),
                Some(keys::AUDIT) => Some(Mode::Audit),
                _ => None,
            };
            let requires_signature = label(SIGNATURE_LABEL) == Some("true");
            (namespace.name_any(), mode.map(|mode| NamespaceView { mode, requires_signature }))
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

    /// Applies an event on the sweep. An unreadable sweep counts as absent.
    pub fn apply_sweep(&self, event: Event<DeserializeGuard<FreshnessSweep>>) {
        write(&self.sweep).apply(event, |sweep| {
            let name = sweep.name_any();
            let unreadable = |error: &dyn std::fmt::Display| {
                tracing::warn!(sweep = name, %error, "ignoring an unreadable sweep");
            };
            let view = match sweep.0 {
                Ok(sweep) => SweepView::try_from(sweep).inspect_err(|error| unreadable(error)).ok(),
                Err(error) => {
                    unreadable(&error);
                    None
                }
            };
            (name, view.map(Arc::new))
        });
    }

    /// Applies an event on nodes.
    pub fn apply_node(&self, event: Event<ApiNode>) {
        write(&self.nodes).apply(event);
    }

    /// Applies an event on `ReplicaSets`.
    pub fn apply_replica_set(&self, event: Event<PartialObjectMeta<ReplicaSet>>) {
        apply_revision(&self.replica_sets, event);
    }

    /// Applies an event on `ControllerRevisions`.
    pub fn apply_revision(&self, event: Event<PartialObjectMeta<ControllerRevision>>) {
        apply_revision(&self.revisions, event);
    }

    /// Applies an event on holds. An unreadable hold counts as absent.
    pub fn apply_hold(&self, event: Event<DeserializeGuard<OwnerHold>>) {
        let mut holds = write(&self.holds);
        let changed = holds.apply(event, |hold| {
            let key = format!("{}/{}", hold.namespace().unwrap_or_default(), hold.name_any());
            let unreadable = |error: &_| tracing::warn!(hold = key, %error, "ignoring an unreadable hold");
            let hold = hold.0.inspect_err(unreadable).ok();
            (key, hold.map(|hold| Arc::new(hold.spec)))
        });
        if changed.is_empty() {
            return;
        }
        let of_node = |hold: &Arc<OwnerHoldSpec>| Some((hold.node()?.to_owned(), hold.template.clone()));
        let failed = holds.values().filter_map(of_node).collect();
        // Reviews lock nodes before holds.
        drop(holds);
        write(&self.nodes).set_failed(failed);
    }
}

fn apply_revision<K: Resource>(cache: &RwLock<Revisions>, event: Event<K>) {
    write(cache).apply(event, |revision| {
        let key = format!("{}/{}", revision.namespace().unwrap_or_default(), revision.name_any());
        (key, revision.creation_timestamp().map(|created| created.0.as_second()))
    });
}

// A thread that panics while it holds a lock poisons the lock. The caches change by replacement or by a single
// insertion, so they are consistent even then, and admission continues.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

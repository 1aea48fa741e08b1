//! Sources that pods run, and how the kubelet pulls them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use zstart_core::Reference;

use super::{Kind, Revision};

/// Interned source: one allocation for all consumers.
pub type Source = Arc<Reference>;

/// Sources that a workload runs, and how its pods pull them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Requirements {
    /// Normalised sources, without variants. The value tells whether the kubelet pulls the source at each start
    /// (`imagePullPolicy: Always`).
    pub sources: BTreeMap<Reference, bool>,
    /// Credentials of the pods.
    pub access: Access,
    /// Version of the pod template; `None` if a change of it is no reason to look at the images.
    pub revision: Option<Revision>,
    /// Object that events are published on; `None` if a watched owner gets them.
    pub event_target: Option<EventTarget>,
}

/// Credentials with which the pods of a namespace pull.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Access {
    /// Namespace of the pods.
    pub namespace: String,
    /// Name of the service account. Its pull secrets are used too.
    pub service_account: String,
    /// Names of the pull secrets in the pod specification.
    pub pull_secrets: BTreeSet<String>,
}

/// Object that events are published on. Its namespace is that of its [`Access`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventTarget {
    /// Kind of the object.
    pub kind: Kind,
    /// Name of the object.
    pub name: String,
    /// UID of the object.
    pub uid: Option<String>,
}

impl EventTarget {
    /// Reference to the object in its namespace.
    pub(super) fn in_namespace(&self, namespace: &str) -> ObjectReference {
        ObjectReference {
            api_version: Some(self.kind.api_version().to_owned()),
            kind: Some(format!("{:?}", self.kind)),
            namespace: Some(namespace.to_owned()),
            name: Some(self.name.clone()),
            uid: self.uid.clone(),
            ..ObjectReference::default()
        }
    }
}

/// A workload that runs a source.
#[derive(Clone, Debug, PartialEq)]
pub struct Consumer {
    /// Namespace of the workload.
    pub namespace: String,
    /// Names of the pull secrets in the pod specification.
    pub pull_secrets: BTreeSet<String>,
    /// Name of the service account.
    pub service_account: String,
    /// The kubelet pulls the source at each start (`imagePullPolicy: Always`).
    pub pulls_always: bool,
    /// Object that events are published on; `None` if a watched owner gets them.
    pub event_target: Option<ObjectReference>,
}

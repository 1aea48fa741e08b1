//! Owner of a pod.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::eligibility::pod::controller;

/// Object that creates a pod again after a deletion: the pod's controller. A bare pod, which has no
/// controller, is its own owner: an unknown program creates a pod of the same name again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// API version, e.g. `apps/v1`.
    #[schemars(length(max = 317))]
    pub api_version: String,
    /// Kind, e.g. `StatefulSet`; `Pod` for a bare pod.
    #[schemars(length(max = 63))]
    pub kind: String,
    /// Name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// UID; empty for a bare pod, because the next pod of the name has another one.
    #[schemars(length(max = 128))]
    pub uid: String,
}

impl Owner {
    /// Returns the owner of a pod. A bare pod without a name has none: `generateName` never gives a name
    /// twice.
    pub fn of(pod: &ObjectMeta) -> Option<Self> {
        if let Some(owner) = controller(pod) {
            return Some(Self {
                api_version: owner.api_version.clone(),
                kind: owner.kind.clone(),
                name: owner.name.clone(),
                uid: owner.uid.clone(),
            });
        }
        let name = pod.name.clone().filter(|name| !name.is_empty())?;
        Some(Self { api_version: "v1".to_owned(), kind: "Pod".to_owned(), name, uid: String::new() })
    }

    /// API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.rsplit_once('/').map_or("", |(group, _)| group)
    }

    /// The node `name`, as the owner of a hold.
    pub fn of_node(name: &str, uid: &str) -> Self {
        Self {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
        }
    }

    /// Reference by which the garbage collector deletes an object with this owner.
    pub fn owner_reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            ..OwnerReference::default()
        }
    }

    /// Returns whether the owner is a node.
    pub fn is_node(&self) -> bool {
        (self.group(), &*self.kind) == ("", "Node")
    }

    /// Returns whether the owner stands for a bare pod.
    pub fn is_bare_pod(&self) -> bool {
        self.uid.is_empty()
    }

    /// Returns whether both are the same object. The version may differ: one object is served in several
    /// versions.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.uid, &self.kind, &self.name) == (&other.uid, &other.kind, &other.name)
            && self.group() == other.group()
    }
}

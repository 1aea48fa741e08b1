//! Owner hold: pods of one owner that the webhook leaves on their original images, as an `OwnerHold`
//! object.
//!
//! A hold whose owner is a node keeps pods that could run on this node on their original images.
#![expect(clippy::duplicated_attributes, reason = "printer columns share a type")]
#![allow(unreachable_pub, reason = "the derive repeats the spec's visibility in a private scope")]

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod name;
mod owner;
mod template;
#[cfg(test)]
mod tests;

pub use name::hold_name;
pub use owner::Owner;
pub use template::{hold_template, template_of};

/// Owner whose pods stay on their original images. zstart's controller makes a hold when a rewrite of the
/// owner's pods is undone again and again.
///
/// The webhook leaves the pods of a held owner alone. The controller deletes the hold when the owner's pod
/// template changes. An administrator lifts the hold by deleting it.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "zstart.dev",
    version = "v1alpha1",
    kind = "OwnerHold",
    plural = "ownerholds",
    shortname = "hold",
    category = "zstart",
    namespaced,
    derive = "PartialEq",
    doc = "Owner whose pods zstart leaves on their original images, because a rewrite of them was undone \
           again and again. Delete the hold to lift it.",
    printcolumn(name = "Kind", type_ = "string", json_path = ".spec.owner.kind"),
    printcolumn(name = "Owner", type_ = "string", json_path = ".spec.owner.name"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".spec.message", priority = 1)
)]
#[x_kube(validation = ("self == oldSelf", "a hold can't be changed: delete the hold to lift it"))]
#[serde(rename_all = "camelCase")]
pub struct OwnerHoldSpec {
    /// Owner of the pods.
    pub owner: Owner,
    /// Pod template at which the rewrite was undone: a label of the pods (`pod-template-hash=…`,
    /// `controller-revision-hash=…`) or a hash of the pod's specification (`spec-hash=…`). Empty if the
    /// owner's pods have several templates at once: such a hold lasts until an administrator lifts it or
    /// the owner is deleted. The hold of a node has the node's container runtime and version, and lasts until
    /// the node reports another one.
    #[schemars(length(max = 253))]
    pub template: String,
    /// Evidence for the hold.
    pub reason: HoldReason,
    /// Pods and times of the evidence, and the command that lifts the hold.
    #[schemars(length(max = 2048))]
    pub message: String,
}

/// Evidence for a hold. Users and alerts match on the words, so the words are never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum HoldReason {
    /// Rewritten pods were deleted and created again at an unchanged template, and so on.
    RecreatedAfterRewrite,
    /// The image of running pods was changed back to the original.
    ImagePatchedBack,
    /// The owner is a node, whose container runtime couldn't unpack a zstd layer.
    ZstdNotUnpacked,
}

impl HoldReason {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::RecreatedAfterRewrite, Self::ImagePatchedBack, Self::ZstdNotUnpacked];

    /// CamelCase word in the hold, the event and the metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RecreatedAfterRewrite => "RecreatedAfterRewrite",
            Self::ImagePatchedBack => "ImagePatchedBack",
            Self::ZstdNotUnpacked => "ZstdNotUnpacked",
        }
    }

    /// Evidence, as a part of a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::RecreatedAfterRewrite => {
                "a rewritten pod was deleted, its owner created it again at an unchanged template, and so on, three \
                 times in a row"
            }
            Self::ImagePatchedBack => {
                "the image of two of the owner's pods was changed from the variant back to the original"
            }
            Self::ZstdNotUnpacked => {
                "the owner is a node, whose container runtime couldn't unpack a zstd layer"
            }
        }
    }
}

impl fmt::Display for HoldReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl OwnerHoldSpec {
    /// Name of the node that the hold is about, if its owner is one.
    pub fn node(&self) -> Option<&str> {
        let is_node = self.reason == HoldReason::ZstdNotUnpacked && self.owner.is_node();
        is_node.then_some(self.owner.name.as_str())
    }

    /// Returns whether the hold applies to a pod of the hold's namespace. A pod whose labels name another
    /// revision of the owner's template is free at once, before the controller deletes the hold.
    ///
    /// A hash of the specification isn't compared: other webhooks may still change a pod under admission.
    pub fn applies_to(&self, pod: &ObjectMeta) -> bool {
        Owner::of(pod).is_some_and(|owner| owner.is_same(&self.owner))
            && template::label_matches(&self.template, pod)
    }
}

//! Verdicts: the actions that follow from the evidence.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use zstart_core::owner_hold::{HoldReason, Owner, hold_name, hold_template};

/// A hold to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewHold {
    /// Namespace of the owner.
    pub namespace: String,
    /// Owner of the pods.
    pub owner: Owner,
    /// Template at which the loop was seen; empty for every template.
    pub template: String,
    /// Evidence.
    pub reason: HoldReason,
    /// Evidence in words.
    pub message: String,
    /// UID of the last pod of the loop. The event on a bare pod needs one.
    pub pod_uid: Option<String>,
}

/// A hold to delete, because the owner's template changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lift {
    /// Namespace of the hold.
    pub namespace: String,
    /// Name of the hold.
    pub name: String,
    /// UID of the hold.
    pub uid: Option<String>,
    /// Identity of the owner.
    pub(super) owner: u64,
    /// Template of the owner's new pods.
    pub template: String,
}

/// Action that follows from the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Put the owner on hold.
    Hold(NewHold),
    /// Lift a hold.
    Lift(Lift),
}

impl Verdict {
    /// Namespace of the owner.
    pub fn namespace(&self) -> &str {
        match self {
            Self::Hold(hold) => &hold.namespace,
            Self::Lift(lift) => &lift.namespace,
        }
    }

    /// Returns whether a hold ends.
    pub fn is_lift(&self) -> bool {
        matches!(self, Self::Lift(_))
    }
}

impl NewHold {
    /// The hold of a pod's owner. `evidence` continues the sentence "After zstart had pointed pods … at a variant".
    pub(super) fn of(pod: &Pod, owner: Owner, reason: HoldReason, evidence: &str, now: Timestamp) -> Self {
        let namespace = pod.namespace().unwrap_or_default();
        let message = format!(
            "After zstart had pointed pods of {} {} at a variant, {evidence}, most recently at {}. A program probably \
             compares the images of pods with those that it wrote. zstart leaves new pods of this owner on their \
             original images{}. To lift the hold: kubectl delete hold --namespace {namespace} {}",
            owner.kind,
            owner.name,
            now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            if hold_template(pod).is_empty() { "" } else { " until the pod template changes" },
            hold_name(&owner),
        );
        Self { namespace, template: hold_template(pod), owner, reason, message, pod_uid: pod.uid() }
    }
}

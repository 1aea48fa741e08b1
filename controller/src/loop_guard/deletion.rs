//! Deletion of a pod that waits for its replacement.

use jiff::{SignedDuration, Timestamp};
use zstart_core::owner_hold::Owner;

/// Time within which a controller replaces a pod. It takes milliseconds in an idle cluster. An autoscaler that
/// adds the pods again that it removed acts after 15 seconds at the earliest.
const REPLACED_WITHIN: SignedDuration = SignedDuration::from_secs(10);
/// Time within which a pod of the same name follows. A program that polls may need longer than a controller
/// that watches, and a name can't be taken by an autoscaler's other pods.
const SAME_NAME_WITHIN: SignedDuration = SignedDuration::from_secs(30);
/// Time after which a pod that still terminates is forgotten.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// Manner in which an owner replaces a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replaces {
    /// At once when the deletion is requested, under another name.
    AtRequest,
    /// After the removal, under the same name.
    ByName,
    /// At the request or after the removal, under any name.
    Either,
}

impl Replaces {
    pub(super) fn of(owner: &Owner) -> Self {
        if owner.is_bare_pod() {
            return Self::ByName;
        }
        match (owner.group(), &*owner.kind) {
            ("apps", "StatefulSet") => Self::ByName,
            ("apps", "ReplicaSet") | ("", "ReplicationController") => Self::AtRequest,
            _ => Self::Either,
        }
    }
}

/// Deletion of a rewritten pod.
#[derive(Debug)]
pub(super) struct Deletion {
    /// Identity of the pod.
    pub(super) pod: u64,
    /// Name of the pod.
    pub(super) name: String,
    /// Template of the pod.
    pub(super) template: String,
    /// Length of the chain of replacements that ends with the pod.
    pub(super) chain: u8,
    /// No ordinary cause is known.
    pub(super) is_suspicious: bool,
    /// Time of the request.
    pub(super) requested: Timestamp,
    /// Time of the removal, after the containers ended.
    pub(super) removed: Option<Timestamp>,
}

impl Deletion {
    /// Returns whether a pod that was created at `now` replaces the deleted pod.
    pub(super) fn is_replaced_by(
        &self,
        name: &str,
        template: &str,
        replaces: Replaces,
        now: Timestamp,
    ) -> bool {
        let within = |since: Timestamp, limit| now.duration_since(since) <= limit;
        let after_removal = |limit| self.removed.is_some_and(|removed| within(removed, limit));
        let is_due = match replaces {
            Replaces::AtRequest => within(self.requested, REPLACED_WITHIN),
            Replaces::ByName => self.name == name && after_removal(SAME_NAME_WITHIN),
            Replaces::Either => within(self.requested, REPLACED_WITHIN) || after_removal(REPLACED_WITHIN),
        };
        is_due && self.template == template
    }

    /// Start of the time in which a changed owner explains the deletion.
    pub(super) fn explained_since(&self) -> Timestamp {
        self.requested - SAME_NAME_WITHIN
    }

    /// Returns whether a replacement may still follow.
    pub(super) fn is_open(&self, now: Timestamp) -> bool {
        match self.removed {
            Some(removed) => now.duration_since(removed) <= SAME_NAME_WITHIN,
            None => now.duration_since(self.requested) <= FORGOTTEN_AFTER,
        }
    }
}

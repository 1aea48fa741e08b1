//! Decision about a variant that a node can't pull: put back, evict, or leave. Pure.

use zstart_core::Reference;
use zstart_core::is_variant_of;
use zstart_core::pod_images::{ImageList, PullPolicy};
use zstart_core::pull_failure::{ImageFault, PullFailure};

use super::node_images::Presence;
use super::pod::{FailedPull, FailingPod};

/// Cure of one failed pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cure {
    /// The container's image becomes the original.
    PutBack,
    /// The pod is evicted, because its field can't change. Its controller replaces it.
    Evict,
    /// Nothing changes, for this reason.
    Leave(Obstacle),
}

/// Obstacle to a cure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// The registry is away, and the kubelet would ask it for the original too, or the field can't change.
    RegistryAway,
    /// The image volume of a pod can't change.
    ImageVolume,
    /// An ephemeral container can't change.
    EphemeralContainer,
}

/// Failed pull that concerns zstart, with its original and its cause.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Case<'a> {
    pub(crate) pull: &'a FailedPull,
    /// Variant that the field names.
    pub(crate) variant: Reference,
    /// Original as the pod's author wrote it; `None` for an ephemeral container, which has no entry in the
    /// annotation.
    pub(crate) original: Option<Original<'a>>,
    pub(crate) cause: PullFailure,
}

/// Original of an image field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Original<'a> {
    /// Text in the annotation.
    pub(crate) written: &'a str,
    pub(crate) reference: Reference,
}

impl<'a> Case<'a> {
    /// Returns the case of a failed pull; `None` if the image isn't a variant of the very original that the pod's
    /// annotation names, if the cause is hidden, or if it concerns every image.
    pub(crate) fn of(pod: &'a FailingPod, pull: &'a FailedPull) -> Option<Self> {
        let cause = pull.cause.filter(|cause| *cause != PullFailure::Unrelated)?;
        let variant: Reference = pull.image.reference.parse().ok()?;
        let original = match pod.originals.get(&pull.image.field.to_string()) {
            Some(written) => {
                let reference: Reference = written.parse().ok()?;
                if !is_variant_of(&variant, &reference) {
                    return None;
                }
                Some(Original { written, reference })
            }
            None if pull.image.field.list == ImageList::EphemeralContainers => None,
            None => return None,
        };
        Some(Self { pull, variant, original, cause })
    }

    /// Returns whether the kubelet asks the registry for the original, although the node may have it.
    pub(crate) fn is_always_pulled(&self) -> bool {
        self.pull.image.pull_policy == PullPolicy::Always
    }

    /// Decides. `presence` tells whether the node has the original.
    pub(crate) fn decide(&self, has_controller: bool, presence: Presence) -> Cure {
        let list = self.pull.image.field.list;
        if list == ImageList::EphemeralContainers || self.original.is_none() {
            return Cure::Leave(Obstacle::EphemeralContainer);
        }
        let is_away = self.cause == PullFailure::RegistryAway;
        // The kubelet's list of images is limited, so an original may be present although it isn't listed. A pod
        // that is put back in vain waits for the registry as before.
        let would_fail_too = self.is_always_pulled() || presence == Presence::Absent;
        if is_away && (would_fail_too || list == ImageList::Volumes) {
            return Cure::Leave(Obstacle::RegistryAway);
        }
        match list {
            ImageList::Containers | ImageList::InitContainers => Cure::PutBack,
            // The webhook would point the next pod at the variant again, unless it learns of the fault.
            ImageList::Volumes if has_controller && self.is_blamed() => Cure::Evict,
            ImageList::Volumes | ImageList::EphemeralContainers => Cure::Leave(Obstacle::ImageVolume),
        }
    }

    /// Returns whether the record or the node is blamed, so that no later pod has the same fate.
    pub(crate) fn is_blamed(&self) -> bool {
        match self.cause {
            PullFailure::Image(ImageFault::Missing | ImageFault::Damaged) | PullFailure::Node(_) => true,
            // The pod's own credentials or its node's policy may be the cause.
            PullFailure::Image(ImageFault::Denied | ImageFault::Unsigned)
            | PullFailure::RegistryAway
            | PullFailure::Unrelated
            | PullFailure::Unknown => false,
        }
    }
}

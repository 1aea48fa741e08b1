//! The decision: for each image of a pod, whether its variant takes its place, and why (not).
//!
//! Pure: a pod, a [`Snapshot`], the settings and the time go in.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use zstart_core::eligibility::{CandidateNodes, Placement, Reason, pod as pod_rules};
use zstart_core::{Reference, variant};

use crate::config::{Policy, WhenNoNode};
use crate::snapshot::{Mode, Snapshot};

mod images;
#[cfg(test)]
mod tests;

pub use images::{Image, ImageField, ImageList, images, new_ephemeral_images};

/// What becomes of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The image as it stands in the pod.
    pub image: Image,
    /// Why it is rewritten or left.
    pub reason: Reason,
    /// What stands in its place from now on; only with [`Reason::Rewritten`].
    pub variant: Option<Reference>,
}

/// What all decisions are made from.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The cluster.
    pub snapshot: &'a Snapshot,
    /// The settings.
    pub policy: &'a Policy,
    /// The time, against which records grow stale.
    pub now: Timestamp,
}

/// One decision for each of `images`, in their order. `namespace` is the review's: a pod's own may
/// be missing.
pub fn decide(pod: &Pod, namespace: &str, images: Vec<Image>, context: &Context<'_>) -> Vec<Decision> {
    let mode = context.snapshot.mode(namespace);
    if let Some(reason) = exclusion(pod, mode, context.policy) {
        return images.into_iter().map(|image| Decision { image, reason, variant: None }).collect();
    }
    // Looking through the nodes is the dearest part: at most once, and only for an image that got so far.
    let mut candidates = None;
    let mut decide_one = |image: &Image| -> Result<Reference, Reason> {
        let source: Reference = image.reference.parse().map_err(|_| Reason::InvalidReference)?;
        if variant::is_variant(&source) {
            return Err(Reason::AlreadyVariant);
        }
        if !image.may_be_pulled {
            return Err(Reason::NeverPulled);
        }
        let record = context.snapshot.record(&source).ok_or(Reason::NoRecord)?;
        let variant = record.variant(&context.policy.variants, context.now)?;
        let candidates = candidates.get_or_insert_with(|| candidate_nodes(pod, context));
        record.check_platforms(candidates)?;
        Ok(variant.clone())
    };
    let decide_one = |image: Image| {
        let (reason, variant) = match decide_one(&image) {
            Ok(_) if mode == Some(Mode::Audit) => (Reason::Audited, None),
            Ok(variant) => (Reason::Rewritten, Some(variant)),
            Err(reason) => (reason, None),
        };
        Decision { image, reason, variant }
    };
    images.into_iter().map(decide_one).collect()
}

/// Whether anything of the pod may be changed at all.
pub fn may_patch(pod: &Pod, namespace: &str, context: &Context<'_>) -> bool {
    let mode = context.snapshot.mode(namespace);
    mode == Some(Mode::Enabled) && exclusion(pod, mode, context.policy).is_none()
}

/// What rules the whole pod out.
fn exclusion(pod: &Pod, mode: Option<Mode>, policy: &Policy) -> Option<Reason> {
    if mode.is_none() {
        return Some(Reason::NamespaceNotEnabled);
    }
    let by_metadata = pod_rules::exclusion(&pod.metadata, &policy.allowed_controllers);
    let is_windows = || pod.spec.as_ref().is_some_and(|spec| Placement::of(spec).is_windows());
    by_metadata.or_else(|| is_windows().then_some(Reason::Windows))
}

fn candidate_nodes(pod: &Pod, context: &Context<'_>) -> CandidateNodes {
    let Some(spec) = &pod.spec else { return CandidateNodes::None };
    let placement = Placement::of(spec);
    if placement.is_fargate(pod.metadata.labels.as_ref()) {
        return placement.for_future_nodes();
    }
    match context.snapshot.candidate_nodes(&placement) {
        // A pod that names a node which isn't known waits for that one, and it may be of any kind.
        CandidateNodes::None
            if context.policy.when_no_node == WhenNoNode::Rewrite && placement.node_name().is_none() =>
        {
            // The setting vouches for nodes to come, not for those that are there behind a taint.
            match context.snapshot.candidate_nodes(&placement.ignoring_taints()) {
                excluded @ CandidateNodes::Excluded(_) => excluded,
                _ => placement.for_future_nodes(),
            }
        }
        candidates => candidates,
    }
}

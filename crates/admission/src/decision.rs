//! Decisions: for each image of a pod, the variant that replaces the image, or the reason against it.
//!
//! Pure: the input is a pod, a [`Snapshot`], the settings and the time.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use zstart_core::eligibility::{CandidateNodes, Placement, Reason, pod as pod_rules};
use zstart_core::pod_images::PullPolicy;
use zstart_core::{Reference, variant};

use crate::config::{Policy, WhenNoNode};
use crate::snapshot::{Mode, Snapshot};

mod images;
#[cfg(test)]
mod tests;

pub use images::{Image, ImageField, ImageList, images, new_ephemeral_images};

/// Decision about one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Image in the pod.
    pub image: Image,
    /// Reason for the rewrite or against it.
    pub reason: Reason,
    /// Variant that replaces the image; only with [`Reason::Rewritten`].
    pub variant: Option<Reference>,
}

/// Input of all decisions.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// State of the cluster.
    pub snapshot: &'a Snapshot,
    /// Settings.
    pub policy: &'a Policy,
    /// Current time, which the age of a record is measured against.
    pub now: Timestamp,
}

/// Returns one decision for each of `images`, in order. `namespace` is the review's, because the pod's own
/// may be missing.
pub fn decide(pod: &Pod, namespace: &str, images: Vec<Image>, context: &Context<'_>) -> Vec<Decision> {
    let mode = context.snapshot.mode(namespace);
    if let Some(reason) = exclusion(pod, mode, context.policy) {
        return images.into_iter().map(|image| Decision { image, reason, variant: None }).collect();
    }
    // Scanning nodes is the most expensive step, so it runs at most once per pod, lazily.
    let mut candidates = None;
    let mut decide_one = |image: &Image| -> Result<Reference, Reason> {
        let source: Reference = image.reference.parse().map_err(|_| Reason::InvalidReference)?;
        if variant::is_variant(&source) {
            return Err(Reason::AlreadyVariant);
        }
        if image.pull_policy == PullPolicy::Never {
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

/// Returns whether the pod may be patched at all.
pub fn may_patch(pod: &Pod, namespace: &str, context: &Context<'_>) -> bool {
    let mode = context.snapshot.mode(namespace);
    mode == Some(Mode::Enabled) && exclusion(pod, mode, context.policy).is_none()
}

/// Returns the reason that excludes the whole pod, if any.
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
        // A pod that names an unknown node waits for that node, which may have any runtime.
        CandidateNodes::None
            if context.policy.when_no_node == WhenNoNode::Rewrite && placement.node_name().is_none() =>
        {
            // `whenNoNode` vouches for future nodes, not for existing nodes behind a taint.
            match context.snapshot.candidate_nodes(&placement.ignoring_taints()) {
                excluded @ CandidateNodes::Excluded(_) => excluded,
                _ => placement.for_future_nodes(),
            }
        }
        candidates => candidates,
    }
}

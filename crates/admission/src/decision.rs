//! Decisions: for each image of a pod, the variant that replaces the image, or the reason against it.
//!
//! Pure: the input is a pod, a [`Snapshot`], the settings and the time.
//!
//! A rewrite is reconsidered. A pod whose annotation names the original of an image was rewritten before: the
//! webhook is invoked again, the pod was copied, or a backup was restored. The decision is then about the
//! original, and the variant is kept, renewed, or replaced by the original.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use zstart_core::eligibility::{Candidates, FutureNodes, NodeSet, Placement, Reason};
use zstart_core::{originals, recorded_original};

use crate::config::{Policy, WhenNoNode};
use crate::snapshot::{NamespaceView, Snapshot};

mod exclusion;
mod image;
mod images;
#[cfg(test)]
mod tests;
pub mod trace;

pub use images::{Image, ImageField, ImageList, PullPolicy, images, new_ephemeral_images};

use self::exclusion::{exclusion, may_restore};
use self::image::{ImageDecider, LeftAlone};
use self::trace::{Trace, Untraced};

/// Decision about one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Image in the pod.
    pub image: Image,
    /// Reason for the variant or against it.
    pub reason: Reason,
    /// Class and node that blocked the variant, in words.
    pub blocker: Option<String>,
    /// Reference that the field gets; `None` if the field stays as it is.
    pub replacement: Option<String>,
    /// Reference that the pod's author wrote, if the field holds a variant afterwards.
    pub original: Option<String>,
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
    /// Kind of object whose cache is too old to be believed, if any.
    pub stale_cache: Option<&'static str>,
}

/// Decisions about the images of a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decisions {
    /// One decision for each image, in order.
    pub images: Vec<Decision>,
    /// The pod may be changed.
    pub may_patch: bool,
}

impl Decision {
    /// Returns whether the image was rewritten before and stays as it is.
    pub fn is_kept(&self) -> bool {
        self.original.is_some() && self.replacement.is_none()
    }

    /// Takes the rewrite back, because the patch doesn't apply.
    pub fn fail(&mut self) {
        if self.replacement.take().is_some() {
            self.reason = Reason::Failed;
            self.original = None;
        }
    }
}

/// Returns one decision for each of `images`, in order. `namespace` is the review's, because the pod's own
/// may be missing.
pub fn decide(pod: &Pod, namespace: &str, images: Vec<Image>, context: &Context<'_>) -> Decisions {
    let (decisions, may_patch) = decide_traced::<Untraced>(pod, namespace, images, context);
    Decisions { images: decisions.into_iter().map(|(decision, Untraced)| decision).collect(), may_patch }
}

/// Returns the decisions, each with the steps that led to it, and whether the pod may be changed.
pub fn decide_traced<T: Trace>(
    pod: &Pod,
    namespace: &str,
    images: Vec<Image>,
    context: &Context<'_>,
) -> (Vec<(Decision, T)>, bool) {
    let mut pod_trace = T::default();
    let view = context.snapshot.namespace(namespace);
    let is_audited = view.is_some_and(NamespaceView::is_audited);
    let excluded = exclusion(pod, namespace, view, context, &mut pod_trace);
    let may_change = excluded.is_none_or(may_restore) && !is_audited;
    let recorded = originals(&pod.metadata).unwrap_or_default();
    let nodes = context.snapshot.nodes();
    let requires_signature = view.is_some_and(|view| view.requires_signature);
    let mut decider = ImageDecider::new(pod, namespace, requires_signature, context, &nodes);
    let mut decide_one = |image: Image| {
        let mut trace = pod_trace.clone();
        let recorded = recorded_original(&image, &recorded);
        let written = recorded.unwrap_or(&image.reference).to_owned();
        let found = match excluded {
            Some(reason) => Err(LeftAlone::from(reason)),
            None => decider.decide(&image, &written, &mut trace),
        };
        let is_recorded = recorded.is_some();
        let decision = match found {
            Ok(_) if is_audited => {
                let reason = Reason::Audited;
                Decision { image, reason, blocker: None, replacement: None, original: None }
            }
            Ok(variant) => {
                let replacement = (variant != image.reference).then_some(variant);
                let (reason, original) = (Reason::Rewritten, Some(written));
                Decision { image, reason, blocker: None, replacement, original }
            }
            Err(LeftAlone { reason, blocker }) => {
                let replacement = (is_recorded && may_change).then_some(written);
                Decision { image, reason, blocker, replacement, original: None }
            }
        };
        (decision, trace)
    };
    let decisions: Vec<(Decision, T)> = images.into_iter().map(&mut decide_one).collect();
    // A pod that is left alone is patched only to take a rewrite back.
    let is_changed = decisions.iter().any(|(decision, _)| decision.replacement.is_some());
    (decisions, may_change && (excluded.is_none() || is_changed))
}

/// Returns the nodes that the pod could run on.
fn candidates<'n>(pod: &Pod, nodes: &'n NodeSet, policy: &Policy) -> Candidates<'n> {
    let Some(spec) = &pod.spec else { return Candidates::default() };
    let placement = Placement::of(spec);
    let future = || Some(FutureNodes { platforms: placement.future_platforms() });
    if placement.is_fargate(pod.metadata.labels.as_ref()) {
        return Candidates { nodes: Vec::new(), future: future() };
    }
    let existing = nodes.candidates(&placement);
    // A pod that names an unknown node waits for that node, which may have any runtime.
    if existing.is_empty() && policy.when_no_node.vouches_for(&placement) && !placement.names_its_node() {
        // The administrator vouches for future nodes, not for existing nodes behind a taint.
        return Candidates { nodes: nodes.candidates(&placement.ignoring_taints()), future: future() };
    }
    Candidates { nodes: existing, future: None }
}

impl WhenNoNode {
    fn vouches_for(&self, placement: &Placement<'_>) -> bool {
        match self {
            Self::Leave => false,
            Self::Rewrite => true,
            Self::Vouched(nodes) => nodes.iter().any(|nodes| nodes.include(placement)),
        }
    }
}

//! Reasons that exclude a whole pod, independent of its images.

use k8s_openapi::api::core::v1::Pod;
use zstart_core::eligibility::{Placement, Reason, pod as pod_rules};
use zstart_core::keys;

use super::Context;
use super::trace::Trace;

/// Exclusion of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exclusion {
    pub(super) reason: Reason,
}

impl Exclusion {
    /// Returns whether an earlier rewrite may be taken back. The kubelet ignores the images of a mirror pod.
    pub(super) fn may_restore(self) -> bool {
        !matches!(self.reason, Reason::NamespaceNotEnabled | Reason::MirrorPod)
    }
}

/// Returns the exclusion of the pod, if any.
pub(super) fn exclusion<T: Trace>(
    pod: &Pod,
    namespace: &str,
    context: &Context<'_>,
    trace: &mut T,
) -> Option<Exclusion> {
    let view = context.snapshot.namespace(namespace);
    trace.step(view.is_some(), || match view {
        Some(view) => format!("namespace {namespace} has the label {}={}", keys::REWRITE, view.label()),
        None => format!(
            "namespace {namespace} lacks the label {}={} (or {})",
            keys::REWRITE,
            keys::ENABLED,
            keys::AUDIT
        ),
    });
    if view.is_none() {
        return Some(Exclusion { reason: Reason::NamespaceNotEnabled });
    }
    let by_metadata = pod_rules::exclusion(&pod.metadata, &context.policy.allowed_controllers);
    trace.step(by_metadata.is_none(), || describe_metadata(pod, by_metadata));
    let hold = by_metadata.is_none().then(|| context.snapshot.hold(&pod.metadata, namespace)).flatten();
    if let Some(hold) = &hold {
        trace.step(false, || {
            format!("the loop guard holds {} {}: {}", hold.owner.kind, hold.owner.name, hold.message)
        });
        return Some(Exclusion { reason: Reason::OwnerOnHold });
    }
    let is_windows = pod.spec.as_ref().is_some_and(|spec| Placement::of(spec).is_windows());
    let by_system = is_windows.then_some(Reason::Windows);
    if by_metadata.is_none() && is_windows {
        trace.step(false, || "the pod asks for Windows, where zstd is untested".to_owned());
    }
    let by_age = context.stale_cache.map(|_| Reason::CacheStale);
    if let (None, None, Some(resource)) = (by_metadata, by_system, context.stale_cache) {
        trace.step(false, || format!("the data about {resource} is old: the API server hasn't been heard"));
    }
    by_metadata.or(by_system).or(by_age).map(|reason| Exclusion { reason })
}

/// Describes owner and marks of a pod.
fn describe_metadata(pod: &Pod, reason: Option<Reason>) -> String {
    let controller = pod_rules::controller(&pod.metadata);
    let owner = match controller {
        Some(owner) => format!("{} {}", owner.kind, owner.name),
        None => "no controller".to_owned(),
    };
    match reason {
        None => match controller {
            Some(_) => format!("the pod belongs to {owner}, which leaves the images of its pods alone"),
            None => "the pod has no controller and isn't applied from a manifest".to_owned(),
        },
        Some(Reason::PodOptedOut) => format!("the pod has the label {}={}", keys::REWRITE, keys::DISABLED),
        Some(Reason::MirrorPod) => "the pod mirrors a static pod".to_owned(),
        Some(Reason::ForeignController) => format!(
            "the pod belongs to {owner}, or has the marks of an operator, which may compare images; \
             allowedControllers vouches for a kind"
        ),
        Some(Reason::AppliedBare) => {
            "the pod has no controller, and its manifest may be applied again, which would undo the rewrite"
                .to_owned()
        }
        Some(reason) => format!("the pod is left alone: {reason}"),
    }
}

//! Reasons that exclude a whole pod, independent of its images.

use k8s_openapi::api::core::v1::Pod;
use zstart_core::eligibility::{Placement, Reason, pod as pod_rules};
use zstart_core::keys;

use super::Context;
use super::trace::Trace;
use crate::snapshot::NamespaceView;

/// Returns whether an earlier rewrite of a pod that is excluded for `reason` may be taken back. The kubelet
/// ignores the images of a mirror pod.
pub(super) fn may_restore(reason: Reason) -> bool {
    !matches!(reason, Reason::NamespaceNotEnabled | Reason::MirrorPod)
}

/// Returns the reason that excludes the pod, if any. `view` is the view of its namespace.
pub(super) fn exclusion<T: Trace>(
    pod: &Pod,
    namespace: &str,
    view: Option<NamespaceView>,
    context: &Context<'_>,
    trace: &mut T,
) -> Option<Reason> {
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
        return Some(Reason::NamespaceNotEnabled);
    }
    let by_metadata = pod_rules::exclusion(&pod.metadata, &context.policy.allowed_controllers);
    trace.step(by_metadata.is_none(), || describe_metadata(pod, by_metadata));
    if by_metadata.is_some() {
        return by_metadata;
    }
    if let Some(hold) = context.snapshot.hold(&pod.metadata, namespace) {
        trace.step(false, || {
            format!("the loop guard holds {} {}: {}", hold.owner.kind, hold.owner.name, hold.message)
        });
        return Some(Reason::OwnerOnHold);
    }
    if pod.spec.as_ref().is_some_and(|spec| Placement::of(spec).is_windows()) {
        trace.step(false, || "the pod asks for Windows, where zstd is untested".to_owned());
        return Some(Reason::Windows);
    }
    let resource = context.stale_cache?;
    trace.step(false, || format!("the data about {resource} is old: the API server hasn't been heard"));
    Some(Reason::CacheStale)
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
        Some(Reason::ForeignController) => format!(
            "the pod belongs to {owner}, or has the marks of an operator, which may compare images; \
             allowedControllers vouches for a kind"
        ),
        Some(reason) => reason.plain_meaning(),
    }
}

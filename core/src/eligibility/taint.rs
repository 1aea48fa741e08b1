//! Taints against tolerations (`k8s.io/api/core/v1.Toleration.ToleratesTaint`).

use k8s_openapi::api::core::v1::{Taint, Toleration};

/// Taints that Kubernetes itself sets and takes away: not ready, unreachable, under pressure,
/// cordoned. A pod that waits may land there once they are gone, so they exclude nothing.
const PASSING: [&str; 2] = ["node.kubernetes.io/", "node.cloudprovider.kubernetes.io/"];

/// Whether the taints keep a pod with these tolerations away for good. Only `NoSchedule` and
/// `NoExecute` do; `PreferNoSchedule` is a wish.
pub(super) fn exclude(taints: &[Taint], tolerations: &[Toleration]) -> bool {
    taints
        .iter()
        .filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"))
        .filter(|taint| !PASSING.iter().any(|prefix| taint.key.starts_with(prefix)))
        .any(|taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint)))
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (effect, key) = (text(&toleration.effect), text(&toleration.key));
    if !(effect.is_empty() || effect == taint.effect) || !(key.is_empty() || key == taint.key) {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or_default() {
        "" | "Equal" => text(&toleration.value) == text(&taint.value),
        // `Exists`, and comparisons of newer versions: in doubt the node is a candidate.
        _ => true,
    }
}

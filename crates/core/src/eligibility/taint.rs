//! Taints against tolerations (`k8s.io/api/core/v1.Toleration.ToleratesTaint`).

use k8s_openapi::api::core::v1::{Taint as ApiTaint, Toleration};

/// Key prefixes of transient taints: those of Kubernetes (not ready, unreachable, under pressure,
/// cordoned), and those that other components keep on a node until the node is ready for pods. A waiting
/// pod may be scheduled to the node once such a taint is removed, so transient taints exclude no node.
const TRANSIENT_OWNERS: [&str; 10] = [
    "node.kubernetes.io/",
    "node.cloudprovider.kubernetes.io/",
    "startup-taint.cluster-autoscaler.kubernetes.io/",
    "ignore-taint.cluster-autoscaler.kubernetes.io/",
    "readiness.k8s.io/",
    "karpenter.sh/",
    "node.cilium.io/",
    "ebs.csi.aws.com/",
    "efs.csi.aws.com/",
    "aws-node-termination-handler/",
];
/// Suffixes of a transient taint's name, independent of its owner.
const TRANSIENT_SUFFIXES: [&str; 4] = ["not-ready", "unregistered", "uninitialized", "startup"];
/// Prefix of a transient taint's name, independent of its owner.
const TRANSIENT_PREFIX: &str = "startup";
/// Taint of the cluster autoscaler on a node that is due for removal. The autoscaler deletes the taint if
/// the removal fails.
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

/// Taint that permanently repels pods without a toleration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Taint {
    key: String,
    value: String,
    effect: String,
}

impl Taint {
    /// Returns the taint, unless it is transient or only a preference (`PreferNoSchedule`).
    pub fn lasting(taint: ApiTaint) -> Option<Self> {
        let repels = matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute") && !is_transient(&taint.key);
        repels.then(|| Self { key: taint.key, value: taint.value.unwrap_or_default(), effect: taint.effect })
    }
}

fn is_transient(key: &str) -> bool {
    let name = key.rsplit_once('/').map_or(key, |(_, name)| name);
    TRANSIENT_OWNERS.iter().any(|owner| key.starts_with(owner))
        || TRANSIENT_SUFFIXES.iter().any(|end| name.ends_with(end))
        || name.starts_with(TRANSIENT_PREFIX)
        || key == TO_BE_DELETED
}

/// Returns whether the taints permanently repel a pod with these tolerations.
pub(super) fn repel(taints: &[Taint], tolerations: &[Toleration]) -> bool {
    taints.iter().any(|taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint)))
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let is_open_or = |wanted: &Option<String>, actual: &str| {
        wanted.as_deref().is_none_or(|wanted| wanted.is_empty() || wanted == actual)
    };
    if !is_open_or(&toleration.effect, &taint.effect) || !is_open_or(&toleration.key, &taint.key) {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or_default() {
        "" | "Equal" => toleration.value.as_deref().unwrap_or_default() == taint.value,
        // `Exists`, and comparison operators of newer versions: if in doubt, the node is a candidate.
        _ => true,
    }
}

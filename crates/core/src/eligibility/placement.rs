//! Where a pod could land, as far as anybody can say before it is scheduled.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{NodeSelector, PodSpec};

use super::node::{ARCHITECTURE_LABEL, Node, OS_LABEL};
use super::{Reason, selector, taint};
use crate::keys;
use crate::platform::Platform;

/// Label that Kubernetes before 1.14 used; clusters still carry it beside the new one.
const BETA_ARCHITECTURE_LABEL: &str = "beta.kubernetes.io/arch";
/// The same of [`OS_LABEL`].
const BETA_OS_LABEL: &str = "beta.kubernetes.io/os";

/// What a pod asks of its node: borrowed from its specification.
///
/// `spec.unschedulable` and the conditions of nodes are left out of account: a pod that waits may
/// still land there. So are resources, spreading and pod affinity: they only make the choice
/// smaller.
#[derive(Clone, Copy, Debug)]
pub struct Placement<'a> {
    spec: &'a PodSpec,
    affinity: Option<&'a NodeSelector>,
    respect_taints: bool,
}

/// What the nodes that a pod could land on have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CandidateNodes {
    /// Every candidate can start a zstd image; together they have these platforms.
    Platforms(BTreeSet<Platform>),
    /// No node matches now (or none is needed, as on Fargate), and the pod doesn't say which
    /// processor it wants.
    AnyPlatform,
    /// No node matches now.
    None,
    /// A candidate rules a variant out.
    Excluded(Reason),
}

impl<'a> Placement<'a> {
    /// What `spec` asks for.
    pub fn of(spec: &'a PodSpec) -> Self {
        let affinity = spec
            .affinity
            .as_ref()
            .and_then(|affinity| affinity.node_affinity.as_ref())
            .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
        Self { spec, affinity, respect_taints: true }
    }

    /// The same, as if no node had a taint: whoever set them may take them away.
    #[must_use]
    pub fn ignoring_taints(self) -> Self {
        Self { respect_taints: false, ..self }
    }

    /// Whether the pod could land on this node.
    pub fn allows(&self, node: &Node) -> bool {
        // A named node is past the scheduler, and past taints.
        if let Some(name) = self.node_name() {
            return name == node.name;
        }
        let selected =
            self.spec.node_selector.as_ref().is_none_or(|wanted| {
                wanted.iter().all(|(label, value)| node.labels.get(label) == Some(value))
            });
        let is_tainted = || taint::repel(&node.taints, self.spec.tolerations.as_deref().unwrap_or_default());
        selected
            && self.affinity.is_none_or(|affinity| selector::matches(affinity, node))
            && !(self.respect_taints && is_tainted())
    }

    /// The one node that the pod names, if it does: by `nodeName`.
    pub fn node_name(&self) -> Option<&'a str> {
        self.spec.node_name.as_deref().filter(|name| !name.is_empty())
    }

    /// The one node that required affinity names by `metadata.name`, as the DaemonSet controller
    /// does for each of its pods.
    pub fn pinned_node(&self) -> Option<&'a str> {
        let [term] = self.affinity?.node_selector_terms.as_slice() else { return None };
        let fields = term.match_fields.as_deref().unwrap_or_default();
        let named = fields.iter().find(|field| field.key == "metadata.name" && field.operator == "In")?;
        match named.values.as_deref() {
            Some([name]) => Some(name),
            _ => None,
        }
    }

    /// What the candidates among `nodes` have in common.
    ///
    /// Any candidate that can't start zstd images, that runs Windows (never tried) or that doesn't
    /// say what it is, excludes the pod: the scheduler may choose that one.
    pub fn candidate_nodes<'n>(&self, nodes: impl IntoIterator<Item = &'n Node>) -> CandidateNodes {
        let mut platforms: BTreeSet<Platform> = BTreeSet::new();
        for node in nodes {
            if !self.allows(node) {
                continue;
            }
            if node.is_windows() {
                return CandidateNodes::Excluded(Reason::Windows);
            }
            match &node.platform {
                Some(platform) if node.supports_zstd => {
                    if !platforms.contains(platform) {
                        platforms.insert(platform.clone());
                    }
                }
                _ => return CandidateNodes::Excluded(Reason::RuntimeUnsupported),
            }
        }
        if platforms.is_empty() { CandidateNodes::None } else { CandidateNodes::Platforms(platforms) }
    }

    /// What a node that isn't there yet will be: for Fargate, and for clusters that scale from
    /// zero where an administrator has said that every new node can start zstd images.
    ///
    /// Where the pod pins its processor (`kubernetes.io/arch` in its node selector or in every
    /// term of its required affinity), these are the platforms. Where it doesn't, any will do: a
    /// variant lists every platform that its source has, converted or not, so a node that could
    /// start the source can start the variant.
    pub fn for_future_nodes(&self) -> CandidateNodes {
        match self.pinned_architectures() {
            Some(architectures) => CandidateNodes::Platforms(
                architectures.iter().map(|architecture| Platform::new("linux", architecture)).collect(),
            ),
            None => CandidateNodes::AnyPlatform,
        }
    }

    fn pinned_architectures(&self) -> Option<BTreeSet<&'a str>> {
        let by_selector = self.spec.node_selector.as_ref().and_then(|labels| {
            labels.get(ARCHITECTURE_LABEL).or_else(|| labels.get(BETA_ARCHITECTURE_LABEL))
        });
        if let Some(architecture) = by_selector {
            return Some(BTreeSet::from([architecture.as_str()]));
        }
        let terms = self.affinity?.node_selector_terms.iter();
        let by_term = terms.map(|term| {
            selector::pinned_values(term, ARCHITECTURE_LABEL)
                .or_else(|| selector::pinned_values(term, BETA_ARCHITECTURE_LABEL))
                .map(|values| values.iter().map(String::as_str))
        });
        // One term that leaves it open leaves it open.
        let values: Option<Vec<_>> = by_term.collect();
        values
            .map(|values| values.into_iter().flatten().collect())
            .filter(|set: &BTreeSet<_>| !set.is_empty())
    }

    /// Whether the pod asks for Windows, by `spec.os`, its node selector or a term of its affinity.
    pub fn is_windows(&self) -> bool {
        let labels = [OS_LABEL, BETA_OS_LABEL];
        let by_os = self.spec.os.as_ref().is_some_and(|os| os.name == "windows");
        let selector = self.spec.node_selector.as_ref();
        let by_selector = labels
            .into_iter()
            .any(|label| selector.and_then(|selector| selector.get(label)).is_some_and(|os| os == "windows"));
        let mut terms = self.affinity.into_iter().flat_map(|affinity| &affinity.node_selector_terms);
        let by_term = terms.any(|term| {
            let mut pinned = labels.into_iter().filter_map(|label| selector::pinned_values(term, label));
            pinned.any(|values| values.iter().any(|os| os == "windows"))
        });
        by_os || by_selector || by_term
    }

    /// Whether the pod will run on Fargate, which needs no node of the cluster's.
    ///
    /// The scheduler's name decides: nobody else schedules such a pod. The label alone doesn't,
    /// because anybody can write it on a pod that then lands on an ordinary node.
    pub fn is_fargate(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        self.spec.scheduler_name.as_deref() == Some(keys::FARGATE_SCHEDULER)
            && labels.is_some_and(|labels| labels.contains_key(keys::FARGATE_PROFILE))
    }
}

#[cfg(test)]
mod tests;

//! Nodes that a pod could be scheduled to, as far as the pod and the nodes tell before scheduling.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{NodeSelector, PodSpec};

use super::node::{ARCHITECTURE_LABEL, Node, OS_LABEL};
use super::{Reason, selector, taint};
use crate::keys;
use crate::platform::Platform;

/// Architecture label of Kubernetes before 1.14. Clusters still set this label along with the new one.
const BETA_ARCHITECTURE_LABEL: &str = "beta.kubernetes.io/arch";
/// Operating system label of Kubernetes before 1.14.
const BETA_OS_LABEL: &str = "beta.kubernetes.io/os";

/// Scheduling constraints of a pod, borrowed from its specification.
///
/// Two groups of constraints are ignored. `spec.unschedulable` and node conditions may pass while a pod
/// waits, so the pod may still be scheduled to such a node. Resources, spreading and pod affinity only
/// shrink the set of candidates.
#[derive(Clone, Copy, Debug)]
pub struct Placement<'a> {
    spec: &'a PodSpec,
    affinity: Option<&'a NodeSelector>,
    respect_taints: bool,
}

/// Common properties of the nodes that a pod could be scheduled to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CandidateNodes {
    /// Every candidate can start a zstd image. The set holds the platforms of all candidates.
    Platforms(BTreeSet<Platform>),
    /// No node matches now, or the pod needs no node of the cluster, as on Fargate. The pod pins no
    /// architecture.
    AnyPlatform,
    /// No node matches now.
    None,
    /// A candidate rules out every variant.
    Excluded(Reason),
}

impl<'a> Placement<'a> {
    /// Reads the constraints of `spec`.
    pub fn of(spec: &'a PodSpec) -> Self {
        let affinity = spec
            .affinity
            .as_ref()
            .and_then(|affinity| affinity.node_affinity.as_ref())
            .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
        Self { spec, affinity, respect_taints: true }
    }

    /// Returns the constraints as if no node had a taint: the owner of a taint may remove it.
    #[must_use]
    pub fn ignoring_taints(self) -> Self {
        Self { respect_taints: false, ..self }
    }

    /// Returns whether the pod could be scheduled to `node`.
    pub fn allows(&self, node: &Node) -> bool {
        // A pod with `nodeName` bypasses the scheduler and its check of taints.
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

    /// Name of the only possible node, from `nodeName`.
    pub fn node_name(&self) -> Option<&'a str> {
        self.spec.node_name.as_deref().filter(|name| !name.is_empty())
    }

    /// Name of the only possible node, from `metadata.name` in the required affinity. The DaemonSet
    /// controller pins each of its pods by such a term.
    pub fn pinned_node(&self) -> Option<&'a str> {
        let [term] = self.affinity?.node_selector_terms.as_slice() else { return None };
        let fields = term.match_fields.as_deref().unwrap_or_default();
        let named = fields.iter().find(|field| field.key == "metadata.name" && field.operator == "In")?;
        match named.values.as_deref() {
            Some([name]) => Some(name),
            _ => None,
        }
    }

    /// Returns the common properties of the candidates among `nodes`.
    ///
    /// A candidate excludes the pod if its runtime can't start zstd images, if it runs Windows (zstd is
    /// untested on Windows) or if its platform is unknown: the scheduler may choose that candidate.
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

    /// Returns the properties of a node that doesn't exist yet: for Fargate, and for clusters that scale
    /// from zero and whose administrator vouches that every new node can start zstd images.
    ///
    /// If the pod pins its architecture (`kubernetes.io/arch` in its node selector or in every term of
    /// its required affinity), the result holds the pinned platforms. Otherwise every platform will do:
    /// a variant lists every platform of its source, converted or not, so a node that could start the
    /// source can start the variant.
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
        // One term without the label leaves the architecture open.
        let values: Option<Vec<_>> = by_term.collect();
        values
            .map(|values| values.into_iter().flatten().collect())
            .filter(|set: &BTreeSet<_>| !set.is_empty())
    }

    /// Returns whether the pod asks for Windows by `spec.os`, its node selector or an affinity term.
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

    /// Returns whether the pod will run on Fargate, which needs no node of the cluster.
    ///
    /// The scheduler's name decides: no other scheduler binds such a pod. The label alone doesn't,
    /// because every user can set the label on a pod that then runs on an ordinary node.
    pub fn is_fargate(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        self.spec.scheduler_name.as_deref() == Some(keys::FARGATE_SCHEDULER)
            && labels.is_some_and(|labels| labels.contains_key(keys::FARGATE_PROFILE))
    }
}

#[cfg(test)]
mod tests;

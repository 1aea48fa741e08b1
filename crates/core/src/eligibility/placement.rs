//! Nodes that a pod could be scheduled to, as far as the pod and the nodes tell before scheduling.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorTerm, PodSpec};

use super::node::{ARCHITECTURE_LABEL, OS_LABEL};
use super::node_class::NodeClass;
use super::selector::{Match, Value, Values};
use super::{selector, taint};
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

    /// Matches the constraints with `values`: those of one node of `class`, or those that all share.
    pub(super) fn matches(&self, values: &impl Values, class: &NodeClass) -> Match {
        // A kubelet refuses a pod for another operating system.
        if let (Some(wanted), Some(platform)) = (self.os(), &class.platform)
            && platform.os != wanted
        {
            return Match::No;
        }
        // A pod with `nodeName` bypasses the scheduler and its check of taints.
        if let Some(wanted) = self.node_name() {
            return match values.name() {
                Value::Known(name) => (name == Some(wanted)).into(),
                Value::Differs => Match::Some,
            };
        }
        if self.respect_taints
            && taint::repel(&class.taints, self.spec.tolerations.as_deref().unwrap_or_default())
        {
            return Match::No;
        }
        let selected = self.node_selector().map(|(label, wanted)| match values.label(label) {
            Value::Known(value) => (value == Some(wanted)).into(),
            Value::Differs => Match::Some,
        });
        let affine = self.affinity.map(|affinity| selector::matches(affinity, values));
        selected.chain(affine).min().unwrap_or(Match::All)
    }

    /// Operating system that `spec.os` asks for.
    fn os(&self) -> Option<&'a str> {
        self.spec.os.as_ref().map(|os| os.name.as_str())
    }

    /// Labels and values of the node selector.
    pub(super) fn node_selector(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let labels = self.spec.node_selector.iter().flatten();
        labels.map(|(label, value)| (label.as_str(), value.as_str()))
    }

    /// Terms of the required affinity, if the pod has any. Terms are alternatives.
    pub(super) fn terms(&self) -> Option<&'a [NodeSelectorTerm]> {
        self.affinity.map(|affinity| affinity.node_selector_terms.as_slice())
    }

    /// Name of the only possible node, from `nodeName`.
    pub fn node_name(&self) -> Option<&'a str> {
        self.spec.node_name.as_deref().filter(|name| !name.is_empty())
    }

    /// Returns whether the pod names its node, by `nodeName` or by `metadata.name` in its affinity. The
    /// DaemonSet controller pins each of its pods by such a term.
    pub fn names_its_node(&self) -> bool {
        let by_field = |terms: &[NodeSelectorTerm]| {
            !terms.is_empty() && terms.iter().all(|term| selector::pinned_names(term).is_some())
        };
        self.node_name().is_some() || self.terms().is_some_and(by_field)
    }

    /// Returns the values that the pod allows for `label`, in each alternative of its constraints. `None`
    /// is an alternative that leaves the label open.
    pub(super) fn pinned(&self, label: &str) -> Vec<Option<Vec<&'a str>>> {
        let by_selector = self.node_selector().find(|(key, _)| *key == label).map(|(_, value)| vec![value]);
        match self.terms() {
            Some(terms) if by_selector.is_none() => terms
                .iter()
                .map(|term| {
                    let values = selector::pinned_values(term, label)?;
                    Some(values.iter().map(String::as_str).collect())
                })
                .collect(),
            _ => vec![by_selector],
        }
    }

    /// Returns the platforms of nodes that don't exist yet, as far as the pod pins them by
    /// `kubernetes.io/arch` in its node selector or in every term of its required affinity. `None` is any
    /// platform.
    pub fn future_platforms(&self) -> Option<BTreeSet<Platform>> {
        let pinned = |label| self.pinned(label).into_iter().collect::<Option<Vec<_>>>();
        let alternatives = pinned(ARCHITECTURE_LABEL).or_else(|| pinned(BETA_ARCHITECTURE_LABEL))?;
        let architectures = alternatives.into_iter().flatten();
        let platforms: BTreeSet<Platform> =
            architectures.map(|architecture| Platform::new("linux", architecture)).collect();
        Some(platforms).filter(|platforms| !platforms.is_empty())
    }

    /// Returns whether the pod asks for Windows by `spec.os`, its node selector or an affinity term.
    pub fn is_windows(&self) -> bool {
        let labels = [OS_LABEL, BETA_OS_LABEL];
        let by_os = self.os() == Some("windows");
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

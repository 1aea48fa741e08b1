//! Node selectors and required node affinity, matched as by the scheduler
//! (`k8s.io/component-helpers/scheduling/corev1/nodeaffinity`).
//!
//! If in doubt, a node matches: a surplus candidate costs a rewrite, a missing candidate could hand a zstd
//! image to a runtime that can't start it.

use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};

use super::node::Node;

/// Only field that terms may match on.
const NAME_FIELD: &str = "metadata.name";

/// Returns whether any term matches: terms are alternatives.
pub(super) fn matches(selector: &NodeSelector, node: &Node) -> bool {
    selector.node_selector_terms.iter().any(|term| term_matches(term, node))
}

/// Returns whether every requirement of the term is met. A term without requirements matches no node.
fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let label = |requirement: &NodeSelectorRequirement| {
        is_met(requirement, node.labels.get(&requirement.key).map(String::as_str))
    };
    let field = |requirement: &NodeSelectorRequirement| {
        requirement.key != NAME_FIELD || is_met(requirement, Some(&node.name))
    };
    expressions.iter().all(label) && fields.iter().all(field)
}

fn is_met(requirement: &NodeSelectorRequirement, actual: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = || actual.is_some_and(|actual| values.iter().any(|value| value == actual));
    match requirement.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => actual.is_some(),
        "DoesNotExist" => actual.is_none(),
        "Gt" => parse_integers(actual, values).is_some_and(|(actual, bound)| actual > bound),
        "Lt" => parse_integers(actual, values).is_some_and(|(actual, bound)| actual < bound),
        // Operator of a newer Kubernetes.
        _ => true,
    }
}

/// Parses both sides as integers: a label that isn't an integer doesn't match.
fn parse_integers(actual: Option<&str>, values: &[String]) -> Option<(i64, i64)> {
    match values {
        [bound] => Some((actual?.parse().ok()?, bound.parse().ok()?)),
        _ => None,
    }
}

/// Returns the values that the term allows for `label`, or `None` if the term leaves the label open.
pub(super) fn pinned_values<'a>(term: &'a NodeSelectorTerm, label: &str) -> Option<&'a [String]> {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let pins =
        |requirement: &&NodeSelectorRequirement| requirement.key == label && requirement.operator == "In";
    expressions.iter().find(pins).and_then(|requirement| requirement.values.as_deref())
}

//! Node selectors and required node affinity, as the scheduler reads them
//! (`k8s.io/component-helpers/scheduling/corev1/nodeaffinity`).
//!
//! In doubt a node counts as matching: one candidate too many costs a rewrite, one too few could
//! hand a zstd image to a runtime that can't start it.

use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};

use super::node::Node;

/// The only field that terms may match on.
const NAME_FIELD: &str = "metadata.name";

/// Whether any term matches: terms are alternatives.
pub(super) fn matches(selector: &NodeSelector, node: &Node) -> bool {
    selector.node_selector_terms.iter().any(|term| term_matches(term, node))
}

/// Whether every requirement of the term is met. A term without any matches no node.
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
        // An operator of a newer Kubernetes.
        _ => true,
    }
}

/// Both sides as numbers: a label that isn't one doesn't match.
fn parse_integers(actual: Option<&str>, values: &[String]) -> Option<(i64, i64)> {
    match values {
        [bound] => Some((actual?.parse().ok()?, bound.parse().ok()?)),
        _ => None,
    }
}

/// The values that a label must have one of, by this term. `None` where the term leaves it open.
pub(super) fn pinned_values<'a>(term: &'a NodeSelectorTerm, label: &str) -> Option<&'a [String]> {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let pins =
        |requirement: &&NodeSelectorRequirement| requirement.key == label && requirement.operator == "In";
    expressions.iter().find(pins).and_then(|requirement| requirement.values.as_deref())
}

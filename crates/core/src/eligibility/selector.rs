//! Node selectors and required node affinity, matched as by the scheduler
//! (`k8s.io/component-helpers/scheduling/corev1/nodeaffinity`).
//!
//! If in doubt, a node matches: a surplus candidate costs a rewrite, a missing candidate could hand a zstd
//! image to a runtime that can't start it.

use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};

/// Only field that terms may match on.
pub(super) const NAME_FIELD: &str = "metadata.name";

/// Answer to a constraint. The order makes `min` a conjunction and `max` an alternative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Match {
    /// No node of the class meets the constraint.
    No,
    /// Some nodes of the class may meet the constraint, others may not.
    Some,
    /// Every node of the class meets the constraint.
    All,
}

impl From<bool> for Match {
    fn from(is_met: bool) -> Self {
        if is_met { Self::All } else { Self::No }
    }
}

/// Value of a label or field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    /// Value, or `None` for a missing label.
    Known(Option<&'a str>),
    /// The nodes of a class have different values.
    Differs,
}

/// Source of the values that selectors compare: one node, or a class of nodes.
pub(super) trait Values {
    /// Value of a label.
    fn label(&self, key: &str) -> Value<'_>;
    /// Object name.
    fn name(&self) -> Value<'_>;
}

/// Matches the alternatives of `selector`.
pub(super) fn matches(selector: &NodeSelector, node: &impl Values) -> Match {
    selector.node_selector_terms.iter().map(|term| term_matches(term, node)).max().unwrap_or(Match::No)
}

/// Matches every requirement of the term. A term without requirements matches no node.
fn term_matches(term: &NodeSelectorTerm, node: &impl Values) -> Match {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let labels = expressions.iter().map(|requirement| is_met(requirement, node.label(&requirement.key)));
    let fields = fields.iter().map(|requirement| {
        if requirement.key == NAME_FIELD { is_met(requirement, node.name()) } else { Match::All }
    });
    labels.chain(fields).min().unwrap_or(Match::No)
}

fn is_met(requirement: &NodeSelectorRequirement, actual: Value<'_>) -> Match {
    let Value::Known(actual) = actual else { return Match::Some };
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = || actual.is_some_and(|actual| values.iter().any(|value| value == actual));
    let is_met = match requirement.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => actual.is_some(),
        "DoesNotExist" => actual.is_none(),
        "Gt" => parse_integers(actual, values).is_some_and(|(actual, bound)| actual > bound),
        "Lt" => parse_integers(actual, values).is_some_and(|(actual, bound)| actual < bound),
        // Operator of a newer Kubernetes.
        _ => true,
    };
    is_met.into()
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
    listed_values(term.match_expressions.as_deref()?, label)
}

/// Returns the node names that the term allows, or `None` if the term leaves the name open.
pub(super) fn pinned_names(term: &NodeSelectorTerm) -> Option<&[String]> {
    listed_values(term.match_fields.as_deref()?, NAME_FIELD)
}

fn listed_values<'a>(requirements: &'a [NodeSelectorRequirement], key: &str) -> Option<&'a [String]> {
    let pins =
        |requirement: &&NodeSelectorRequirement| requirement.key == key && requirement.operator == "In";
    requirements.iter().find(pins).and_then(|requirement| requirement.values.as_deref())
}

//! Nodes that don't exist yet, and that an administrator vouches for: clusters scale from zero.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::placement::Placement;

/// Labels of future nodes that can start every variant, e.g. `karpenter.sh/nodepool in (a, b)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VouchedNodes {
    requirements: Vec<Requirement>,
}

/// Label with its possible values. No values stand for any value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    label: String,
    values: Vec<String>,
}

/// Error for a text that isn't a selector of labels.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("node selector {text:?} is not of the form label=value, label in (a, b) or label, joined by commas")]
pub struct VouchedNodesError {
    /// Text as given.
    pub text: String,
}

impl VouchedNodes {
    /// Returns whether every node that the pod could be scheduled to has these labels: the pod's node selector
    /// or each term of its required affinity asks for them.
    pub fn include(&self, placement: &Placement<'_>) -> bool {
        self.requirements.iter().all(|Requirement { label, values }| {
            placement.pinned(label).iter().all(|alternative| {
                alternative.as_ref().is_some_and(|pinned| {
                    values.is_empty() || pinned.iter().all(|value| values.iter().any(|known| known == value))
                })
            })
        })
    }
}

impl FromStr for VouchedNodes {
    type Err = VouchedNodesError;

    fn from_str(text: &str) -> Result<Self, VouchedNodesError> {
        let malformed = || VouchedNodesError { text: text.to_owned() };
        let mut requirements = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (requirement, after) = parse_requirement(rest).ok_or_else(malformed)?;
            requirements.push(requirement);
            rest = match after.trim_start().split_once(',') {
                Some(("", next)) if !next.trim().is_empty() => next.trim_start(),
                None if after.trim().is_empty() => "",
                _ => return Err(malformed()),
            };
        }
        if requirements.is_empty() { Err(malformed()) } else { Ok(Self { requirements }) }
    }
}

/// Parses the first requirement, and returns the text after it.
fn parse_requirement(text: &str) -> Option<(Requirement, &str)> {
    let (label, rest) = split_word(text)?;
    let rest = rest.trim_start();
    let requirement = |values: Vec<&str>| Requirement {
        label: label.to_owned(),
        values: values.into_iter().map(str::to_owned).collect(),
    };
    if let Some(rest) = rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')) {
        let (value, rest) = split_word(rest.trim_start())?;
        return Some((requirement(vec![value]), rest));
    }
    let Some(rest) = rest.strip_prefix("in").map(str::trim_start) else {
        return Some((requirement(Vec::new()), rest));
    };
    let (values, rest) = rest.strip_prefix('(')?.split_once(')')?;
    let values: Vec<&str> = values.split(',').map(str::trim).collect();
    let are_words = values.iter().all(|value| split_word(value).is_some_and(|(_, rest)| rest.is_empty()));
    are_words.then(|| (requirement(values), rest))
}

/// Splits a label or value off. Labels have a prefix with a slash (`karpenter.sh/nodepool`).
fn split_word(text: &str) -> Option<(&str, &str)> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'/');
    let end = text.bytes().position(|byte| !is_part(byte)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

impl fmt::Display for VouchedNodes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, Requirement { label, values }) in self.requirements.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            match values.as_slice() {
                [] => write!(formatter, "{comma}{label}")?,
                [value] => write!(formatter, "{comma}{label}={value}")?,
                values => write!(formatter, "{comma}{label} in ({})", values.join(", "))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodSpec;
    use serde_json::{Value, json};

    use super::*;

    fn include(selector: &str, spec: Value) -> bool {
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        selector.parse::<VouchedNodes>().unwrap().include(&Placement::of(&spec))
    }

    #[test]
    fn selector_round_trips_and_malformed_is_refused() {
        for text in ["pool=a", "karpenter.sh/nodepool in (a, b)", "pool", "pool=a,zone in (x, y),gpu"] {
            assert_eq!(text.parse::<VouchedNodes>().unwrap().to_string(), text);
        }
        assert_eq!("pool == a , gpu".parse::<VouchedNodes>().unwrap().to_string(), "pool=a,gpu");
        for text in
            ["", " ", "pool=", "pool in", "pool in ()", "pool in (a", "!pool", "pool!=a", "a,,b", "a b", "a,"]
        {
            assert!(text.parse::<VouchedNodes>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn pod_is_vouched_for_by_its_node_selector() {
        let spec = |pool: &str| json!({"containers": [], "nodeSelector": {"pool": pool}});
        assert!(include("pool=a", spec("a")));
        assert!(include("pool in (a, b)", spec("b")));
        assert!(include("pool", spec("c")));
        assert!(!include("pool=a", spec("b")));
        assert!(!include("pool=a,gpu", spec("a")));
        assert!(!include("pool", json!({"containers": []})));
    }

    #[test]
    fn every_affinity_term_must_ask_for_the_labels() {
        let term = |key: &str, values: Value| json!({"matchExpressions": [{"key": key, "operator": "In", "values": values}]});
        let spec = |terms: Value| {
            json!({"containers": [], "affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms},
            }}})
        };
        let (a, ab) = (term("pool", json!(["a"])), term("pool", json!(["a", "b"])));
        assert!(include("pool in (a, b)", spec(json!([a, ab]))));
        assert!(!include("pool=a", spec(json!([a, ab]))));
        assert!(!include("pool=a", spec(json!([a, term("zone", json!(["x"]))]))));
    }
}

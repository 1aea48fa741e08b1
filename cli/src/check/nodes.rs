//! Runtimes and platforms of the nodes.

use std::collections::BTreeMap;

use zstart_core::eligibility::node::Node;
use zstart_core::eligibility::runtime::SupportedRuntimes;
use zstart_core::units::count;

use super::name::CheckName;
use super::outcome::{Check, Read};

/// Compares the nodes' runtimes with the settings, and counts platforms.
pub(super) fn checks(nodes: &Read<Vec<Node>>, supported: &SupportedRuntimes) -> Vec<Check> {
    let nodes = match nodes {
        Ok(nodes) => nodes,
        Err(unread) => return vec![Check::unread(CheckName::NodeRuntimes, unread)],
    };
    if nodes.is_empty() {
        return vec![Check::warning(
            CheckName::NodeRuntimes,
            "the cluster has no node",
            "for a cluster that scales from zero, set the chart's value webhook.whenNoNode",
        )];
    }
    vec![runtimes(nodes, supported), platforms(nodes)]
}

fn runtimes(nodes: &[Node], supported: &SupportedRuntimes) -> Check {
    const NAME: CheckName = CheckName::NodeRuntimes;
    let runtime = |node: &Node| {
        node.runtime.as_ref().map_or_else(|| "no reported runtime".to_owned(), ToString::to_string)
    };
    let is_supported = |node: &Node| node.runtime.as_ref().is_some_and(|runtime| supported.include(runtime));
    let counts = counts(nodes.iter().map(runtime), "node");
    // Runtimes that can't start a variant, each with one node.
    let blocking: BTreeMap<String, &str> = nodes
        .iter()
        .filter(|node| !is_supported(node))
        .map(|node| (runtime(node), node.name.as_str()))
        .collect();
    if blocking.is_empty() {
        return Check::passed(NAME, format!("every node can start zstd images: {counts}"));
    }
    let number = nodes.iter().filter(|node| !is_supported(node)).count();
    let examples: Vec<String> =
        blocking.iter().map(|(runtime, node)| format!("node {node} ({runtime})")).collect();
    Check::warning(
        NAME,
        format!(
            "{number} of {} can't start zstd images by the settings ({supported}), e.g. {}; all: {counts}",
            count(nodes.len(), "node"),
            examples.join(", ")
        ),
        "pods that could run on such a node keep their images (RuntimeUnsupported): update the nodes' runtime, \
         or keep pods off them by node selectors or taints; the chart's value webhook.runtimes lists more runtimes",
    )
}

fn platforms(nodes: &[Node]) -> Check {
    let platform = |node: &Node| {
        node.platform.as_ref().map_or_else(|| "no reported platform".to_owned(), ToString::to_string)
    };
    Check::passed(
        CheckName::NodePlatforms,
        format!("platforms: {}", counts(nodes.iter().map(platform), "node")),
    )
}

/// Formats how often each text occurs, e.g. `containerd://2.1.6: 12 nodes`.
fn counts(texts: impl Iterator<Item = String>, noun: &str) -> String {
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    for text in texts {
        *numbers.entry(text).or_default() += 1;
    }
    let parts: Vec<String> =
        numbers.into_iter().map(|(text, number)| format!("{text}: {}", count(number, noun))).collect();
    parts.join(", ")
}

#[cfg(test)]
pub(super) mod tests {
    use zstart_core::Platform;
    use zstart_core::eligibility::runtime::Runtime;

    use super::super::outcome::Outcome;
    use super::*;

    pub(crate) fn node(name: &str, runtime: &str) -> Node {
        Node {
            name: name.to_owned(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            platform: Some(Platform::new("linux", "amd64")),
            runtime: Some(Runtime::new(runtime)),
        }
    }

    #[test]
    fn runtimes_and_platforms_are_counted() {
        let nodes = ["a", "b"].map(|name| node(name, "containerd://2.1.6"));
        let checks = checks(&Ok(nodes.to_vec()), &SupportedRuntimes::default());
        assert_eq!(checks[0].text, "every node can start zstd images: containerd://2.1.6: 2 nodes");
        assert_eq!(checks[1].text, "platforms: linux/amd64: 2 nodes");
    }

    #[test]
    fn old_runtime_is_a_warning_that_names_a_node() {
        let nodes = vec![node("new", "containerd://2.1.6"), node("old", "containerd://1.4.1")];
        let check = runtimes(&nodes, &SupportedRuntimes::default());
        assert!(matches!(check.outcome, Outcome::Warning { .. }));
        assert!(check.text.starts_with("1 of 2 nodes can't"), "{}", check.text);
        assert!(check.text.contains("e.g. node old (containerd://1.4.1); all:"), "{}", check.text);
    }
}

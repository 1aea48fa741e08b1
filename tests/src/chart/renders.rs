//! Renders of the chart for review: the default values as a whole, each other variant as its difference from them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use similar::TextDiff;

use super::{Helm, NAMESPACE, chart, ci_values, variant_name};

/// Lines of context around a change.
const CONTEXT: usize = 2;

/// Head of the manifests: Helm creates the namespace itself.
const MANIFESTS: &str = "\
# zstart with the chart's default values, for clusters without Helm. Generated from charts/zstart by `make generate`.
# deploy/manifests/kustomization.yaml names the registry of the images.
---
apiVersion: v1
kind: Namespace
metadata:
  name: zstart-system
  labels:
    pod-security.kubernetes.io/enforce: restricted
";

/// Rendered objects by kind, namespace and name, as text with the chart's comments. Definitions are left out: they are
/// generated from the code and equal in every variant.
type Objects = BTreeMap<String, String>;

/// Difference of each variant from the default values, by the variant's name.
pub async fn differences(helm: &Helm) -> Result<BTreeMap<String, String>> {
    let default = objects(&helm.text(&chart().join("ci/default-values.yaml")).await?)?;
    let mut differences = BTreeMap::new();
    for values in ci_values()? {
        let name = variant_name(&values)?;
        if name != "default" {
            differences.insert(name, difference(&default, &objects(&helm.text(&values).await?)?));
        }
    }
    Ok(differences)
}

/// Manifests of the default values, for `kubectl apply`.
pub async fn manifests(helm: &Helm) -> Result<String> {
    let text = helm.text_with(&chart().join("ci/default-values.yaml"), &["--no-hooks"]).await?;
    let sources = text.lines().filter(|line| !line.starts_with("# Source: "));
    let objects: String = sources.flat_map(|line| [line, "\n"]).collect();
    Ok(format!("{MANIFESTS}{objects}"))
}

fn objects(text: &str) -> Result<Objects> {
    let mut objects = Objects::new();
    for document in text.split("\n---\n") {
        let body: Vec<&str> =
            document.lines().filter(|line| !line.starts_with("# Source: ") && *line != "---").collect();
        let body = body.join("\n").trim().to_owned();
        if body.lines().all(|line| line.starts_with('#')) {
            continue;
        }
        let parsed: serde_json::Value = serde_saphyr::from_str(&body)
            .with_context(|| format!("failed to parse a rendered object:\n{body}"))?;
        if parsed.is_null() || parsed["kind"] == "CustomResourceDefinition" {
            continue;
        }
        let part = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let namespace = part(&parsed["metadata"]["namespace"]);
        // The namespace of the installation says nothing.
        let namespace = if namespace == NAMESPACE || namespace.is_empty() {
            String::new()
        } else {
            format!("{namespace}/")
        };
        let key = format!("{} {namespace}{}", part(&parsed["kind"]), part(&parsed["metadata"]["name"]));
        objects.insert(key, format!("{}\n", without_checksum(&body)));
    }
    Ok(objects)
}

/// The checksum changes with each change of a configuration file, which the difference shows in any case.
fn without_checksum(text: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once("checksum/config: ") {
        Some((before, _)) => format!("{before}checksum/config: ..."),
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The objects that are removed, added and changed. Hunks have no line numbers, which would change with every change of
/// the default values.
fn difference(default: &Objects, variant: &Objects) -> String {
    let mut output = String::new();
    let keys: BTreeSet<&String> = default.keys().chain(variant.keys()).collect();
    for key in keys {
        match (default.get(key), variant.get(key)) {
            (Some(_), None) => {
                let _ = writeln!(output, "removed: {key}\n");
            }
            (None, Some(text)) => {
                let _ = writeln!(output, "added: {key}\n{}", indented(text));
            }
            (Some(old), Some(new)) if old != new => {
                let _ = writeln!(output, "changed: {key}\n{}", indented(&hunks(old, new)));
            }
            _ => {}
        }
    }
    output
}

fn hunks(old: &str, new: &str) -> String {
    let diff = TextDiff::from_lines(old, new);
    let mut output = String::new();
    for group in diff.grouped_ops(CONTEXT) {
        if !output.is_empty() {
            output.push_str("...\n");
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let _ = write!(output, "{}{}", change.tag(), change.value());
        }
    }
    output
}

fn indented(text: &str) -> String {
    let lines =
        text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(documents: &[&str]) -> Objects {
        objects(&documents.join("\n---\n")).unwrap()
    }

    #[test]
    fn difference_names_added_removed_and_changed_objects() {
        let old =
            ["kind: A\nmetadata: {name: same}", "kind: A\nmetadata: {name: old}\nspec: 1\n# why\nmore: 2"];
        let new =
            ["kind: A\nmetadata: {name: same}", "kind: A\nmetadata: {name: old}\nspec: 2\n# why\nmore: 2"];
        let added = "---\n# Source: x\nkind: B\nmetadata: {name: b, namespace: shop}";
        let text = difference(
            &parse(&[&old[..], &["kind: C\nmetadata: {name: c}"]].concat()),
            &parse(&[&new[..], &[added]].concat()),
        );
        assert_eq!(
            text,
            "changed: A old\n   kind: A\n   metadata: {name: old}\n  -spec: 1\n  +spec: 2\n   # why\n   more: 2\n\n\
             added: B shop/b\n  kind: B\n  metadata: {name: b, namespace: shop}\n\n\
             removed: C c\n\n"
        );
    }

    #[test]
    fn checksums_and_definitions_are_left_out() {
        let definition = "kind: CustomResourceDefinition\nmetadata: {name: d}";
        let pod = |sum| format!("kind: P\nmetadata: {{name: p}}\nspec:\n  checksum/config: {sum}");
        assert_eq!(difference(&parse(&[&pod("1")]), &parse(&[&pod("2"), definition])), "");
    }
}

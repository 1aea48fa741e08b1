//! The crate picture of `docs/architecture.md`, compared with the workspace's real dependencies, and the
//! files that CONTRIBUTING.md names.
//!
//! The picture leaves out arrows that follow from others, so both sides are compared in this form.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Crates by name without `zstart-`, each with the crates that it depends on.
type Graph = BTreeMap<String, BTreeSet<String>>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in a folder of the workspace")
}

/// The normal dependencies between the workspace's crates. `zstart-tests` is no part of the product.
fn workspace_graph() -> Result<Graph> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .context("failed to run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let short = |package: &Value| {
        package["name"].as_str().and_then(|name| name.strip_prefix("zstart-")).map(ToOwned::to_owned)
    };
    let mut graph = Graph::new();
    for package in metadata["packages"].as_array().context("cargo metadata lists no packages")? {
        let Some(name) = short(package).filter(|name| !name.starts_with("test")) else { continue };
        let dependencies = package["dependencies"].as_array().context("a package without dependencies")?;
        let normal = dependencies.iter().filter(|dependency| dependency["kind"].is_null());
        graph.insert(name, normal.filter_map(short).collect());
    }
    Ok(graph)
}

/// The arrows of the first Mermaid block below the heading "Crates", and its crates without arrows.
fn pictured_graph(document: &str) -> Result<Graph> {
    let (_, section) = document.split_once("\n## Crates\n").context("no heading \"Crates\"")?;
    let (_, block) = section.split_once("```mermaid\n").context("no Mermaid block below \"Crates\"")?;
    let (block, _) = block.split_once("```").context("the Mermaid block has no end")?;
    let mut graph = Graph::new();
    for line in block.lines().map(str::trim).filter(|line| !line.is_empty() && !line.contains(' ')) {
        graph.entry(line.to_owned()).or_default();
    }
    for (from, to) in block.lines().filter_map(|line| line.split_once(" --> ")) {
        let (from, to) = (from.trim().to_owned(), to.trim().to_owned());
        graph.entry(to.clone()).or_default();
        ensure!(graph.entry(from.clone()).or_default().insert(to.clone()), "{from} --> {to} is drawn twice");
    }
    Ok(graph)
}

fn reaches(graph: &Graph, from: &str, to: &str) -> bool {
    let direct = graph.get(from).into_iter().flatten();
    direct.into_iter().any(|next| next == to || reaches(graph, next, to))
}

/// The graph without the arrows that follow from others. Cargo allows no circle of dependencies.
fn reduced(graph: &Graph) -> Graph {
    let follows = |direct: &BTreeSet<String>, to: &String| direct.iter().any(|via| reaches(graph, via, to));
    let reduce =
        |direct: &BTreeSet<String>| direct.iter().filter(|to| !follows(direct, to)).cloned().collect();
    graph.iter().map(|(from, direct)| (from.clone(), reduce(direct))).collect()
}

/// The graph as the picture's source writes it, one arrow a line.
fn arrows(graph: &Graph) -> String {
    let lines =
        graph.iter().flat_map(|(from, direct)| direct.iter().map(move |to| format!("    {from} --> {to}")));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn crate_picture_matches_the_workspace() -> Result<()> {
    let document = std::fs::read_to_string(root().join("docs/architecture.md"))?;
    let pictured = pictured_graph(&document)?;
    let actual = reduced(&workspace_graph()?);
    assert!(
        pictured == actual,
        "docs/architecture.md, section \"Crates\", draws:\n{}\n\nthe Cargo.toml files say \
         (without arrows that follow from others):\n{}\n",
        arrows(&pictured),
        arrows(&actual),
    );
    Ok(())
}

#[test]
fn crates_link_none_of_the_crates_forbidden_to_them() -> Result<()> {
    let graph = workspace_graph()?;
    for (program, forbidden) in [
        ("webhook", ["registry", "codec", "convert", "ecr"].as_slice()),
        ("ecr", ["codec", "convert", "tune"].as_slice()),
        ("registry", ["codec", "convert", "ecr"].as_slice()),
        ("verify", ["convert", "codec", "oci", "registry", "core"].as_slice()),
    ] {
        let linked: Vec<&&str> = forbidden.iter().filter(|name| reaches(&graph, program, name)).collect();
        assert!(linked.is_empty(), "{program} links {linked:?}");
    }
    Ok(())
}

/// Recipes are useless once the files that they name have moved.
#[test]
fn paths_in_contributing_exist() -> Result<()> {
    let document = std::fs::read_to_string(root().join("CONTRIBUTING.md"))?;
    let folders =
        ["crates/", "controller/", "webhook/", "cli/", "charts/", "deploy/", "tests/", "docs/", "fuzz/"];
    let code = document.split('`').skip(1).step_by(2);
    let paths: BTreeSet<&str> = code
        .filter(|word| folders.iter().any(|folder| word.starts_with(folder)) && !word.contains(' '))
        .collect();
    assert!(paths.len() > 20, "CONTRIBUTING.md names {paths:?}");
    let missing: Vec<&&str> = paths.iter().filter(|path| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "CONTRIBUTING.md names files that don't exist: {missing:?}");
    Ok(())
}

#[test]
fn reduction_drops_arrows_that_follow_from_others() {
    let graph = |edges: &[(&str, &[&str])]| -> Graph {
        let targets = |to: &[&str]| to.iter().map(|name| (*name).to_owned()).collect();
        edges.iter().map(|(from, to)| ((*from).to_owned(), targets(to))).collect()
    };
    let full = graph(&[("a", &["b", "c", "d"]), ("b", &["c"]), ("c", &["d"]), ("d", &[])]);
    let expected = graph(&[("a", &["b"]), ("b", &["c"]), ("c", &["d"]), ("d", &[])]);
    assert_eq!(reduced(&full), expected);
}

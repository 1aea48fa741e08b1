//! The documents' tables, against code and tests.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};
use zstart_tests::registry::profiles::{PRODUCTS, table};

use crate::markdown::{all, root};

/// Reads all Rust code below a folder.
pub(crate) fn read_sources(folder: &Path, into: &mut String) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read_sources(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&std::fs::read_to_string(path)?);
        }
    }
    Ok(())
}

#[test]
fn tests_named_in_document_tables_exist() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut code = String::new();
    for folder in ["crates", "controller", "webhook", "tests/tests"] {
        read_sources(&root.join(folder), &mut code)?;
    }
    let documents = [
        ("docs/images.md", 15),
        ("docs/hostile-registries.md", 15),
        ("docs/ecr.md", 15),
        ("docs/decisions.md", 12),
        ("docs/pods.md", 25),
        ("docs/install.md", 10),
        ("docs/credentials.md", 2),
        ("docs/jobs.md", 15),
        ("docs/security.md", 30),
        ("docs/operating.md", 4),
        ("docs/quickstart-fargate.md", 1),
    ];
    for (document, min) in documents {
        let text = std::fs::read_to_string(root.join(document))?;
        let rows = text.lines().filter(|line| line.starts_with('|'));
        let named: BTreeSet<&str> = rows
            .filter_map(|row| row.trim_end_matches([' ', '|']).rsplit('|').next())
            .flat_map(|cell| cell.split('`').filter(|word| word.contains('_')))
            // A variable of the environment is no test.
            .filter(|word| !word.contains(char::is_uppercase))
            .collect();
        assert!(named.len() > min, "{document} names {named:?}");
        for name in named {
            assert!(code.contains(&format!("fn {name}(")), "{document}: no test {name}");
        }
    }
    Ok(())
}

/// Each reason in the table is a test, and each test is a reason in the table.
#[test]
fn decisions_list_every_defect_of_oci_client() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = std::fs::read_to_string(root.join("docs/decisions.md"))?;
    let code = std::fs::read_to_string(root.join("tests/tests/oci_client.rs"))?;
    let tests = code.split("#[tokio::test]\nasync fn ").skip(1);
    let names: Vec<&str> = tests.filter_map(|test| test.split('(').next()).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(text.contains(&format!("`{name}`")), "docs/decisions.md lacks {name}");
    }
    Ok(())
}

#[test]
fn registries_document_has_the_products_table() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let document = std::fs::read_to_string(root.join("docs/registries.md"))?;
    let table = table();
    assert!(document.contains(&table), "docs/registries.md lacks the table of the profiles:\n{table}");
    let suite = std::fs::read_to_string(root.join("tests/tests/cli/profiles.rs"))?;
    for product in PRODUCTS {
        let line = format!("    {}: {:?};", product.test, product.name);
        assert!(suite.contains(&line), "the suite lacks {line}");
    }
    Ok(())
}

/// Metrics that a text names.
fn metrics(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '_';
    let words = text.match_indices("zstart_").map(|(start, _)| {
        let word = &text[start..];
        &word[..word.find(|c| !is_part(c)).unwrap_or(word.len())]
    });
    let programs = ["zstart_controller_", "zstart_webhook_"];
    words
        .filter(|word| programs.iter().any(|program| word.len() > program.len() && word.starts_with(program)))
        .collect()
}

/// `docs/metrics.md` is made of what the programs export.
#[test]
fn metrics_that_pages_name_are_in_the_reference() -> Result<()> {
    let read = |path: &Path| std::fs::read_to_string(root().join(path));
    let reference = read(Path::new("docs/metrics.md"))?;
    let exported = metrics(&reference);
    let mut count = 0;
    for page in all()? {
        for metric in metrics(&read(&page.path)?) {
            count += 1;
            assert!(exported.contains(metric), "{} names {metric}", page.path.display());
        }
    }
    assert!(count > exported.len() + 20 && exported.len() > 30, "{count} of {}", exported.len());
    Ok(())
}

#[test]
fn troubleshooting_lists_every_event() -> Result<()> {
    let read = |path: &str| std::fs::read_to_string(root().join(path));
    let text = read("docs/troubleshooting.md")?;
    let words = |code: &str| -> BTreeSet<String> {
        let lines = code.lines().filter(|line| line.trim_start().starts_with("const "));
        let values = lines.filter_map(|line| line.split_once(": &str = \"")?.1.split('"').next());
        values.filter(|word| word.starts_with(char::is_uppercase)).map(str::to_owned).collect()
    };
    let mut events = words(&read("controller/src/heal/cure.rs")?);
    events.extend(words(&read("controller/src/events.rs")?));
    assert!(events.len() > 4, "{events:?}");
    for word in events {
        assert!(text.contains(&format!("`{word}`")), "docs/troubleshooting.md lacks the event {word}");
    }
    Ok(())
}

#[test]
fn troubleshooting_lists_conditions_and_exit_codes() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| std::fs::read_to_string(root.join(path));
    let text = read("docs/troubleshooting.md")?;
    let conditions = read("crates/core/src/record/condition.rs")?;
    let types = conditions.lines().filter_map(|line| {
        line.strip_prefix("pub const ")?.split_once(": &str = \"")?.1.split('"').next().map(str::to_owned)
    });
    let arguments = read("cli/src/args.rs")?;
    let help = arguments.split("\nExit codes:\n").nth(1).and_then(|rest| rest.split("\";").next());
    let codes = help.into_iter().flat_map(str::lines);
    let codes = codes.filter_map(|line| line.split_whitespace().next()).map(str::to_owned);
    let (types, codes): (Vec<_>, Vec<_>) = (types.collect(), codes.collect());
    assert!(types.len() == 4 && codes.len() > 9, "{types:?} {codes:?}");
    for condition in types {
        assert!(text.contains(&format!("\n| `{condition}` | ")), "docs/troubleshooting.md lacks {condition}");
    }
    for code in codes {
        assert!(text.contains(&format!("\n| {code} | ")), "docs/troubleshooting.md lacks exit code {code}");
    }
    Ok(())
}

/// First cells of the table that follows a heading.
fn first_cells<'a>(text: &'a str, heading: &str) -> Result<Vec<&'a str>> {
    let section = text.split(&format!("\n{heading}\n")).nth(1).context(heading.to_owned())?;
    let section = section.split("\n#").next().unwrap_or_default();
    Ok(section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next()).skip(1).collect())
}

#[test]
fn troubleshooting_lists_every_check_of_zstart_check() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let code = std::fs::read_to_string(root.join("cli/src/check/name.rs"))?;
    let names: BTreeSet<&str> =
        code.split("#[serde(rename = \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let is_variant = |line: &&str| line.starts_with("    ") && line.ends_with(',') && !line.contains('#');
    let variants = code.lines().filter(is_variant).count();
    assert!(variants > 20 && names.len() == variants, "{variants} checks with the names {names:?}");
    let text = std::fs::read_to_string(root.join("docs/troubleshooting.md"))?;
    let cells = first_cells(&text, "### The checks")?;
    let listed: BTreeSet<&str> = cells.iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert_eq!(listed, names, "left: docs/troubleshooting.md, right: the names of the checks");
    Ok(())
}

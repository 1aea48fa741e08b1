//! Commands in the documents. A comment above each block says where its commands run; CONTRIBUTING lists the forms.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::markdown::{Block, Page, all, root};
use crate::places::Place;
use crate::tables::read_sources;

/// Content of the comment above a block.
enum Mark {
    /// The commands run in the tests below.
    Run(Place),
    /// Another test runs them.
    Test(String),
    /// The commands run nowhere, for the given reason.
    NotRun,
}

/// Languages of blocks with commands.
const COMMANDS: [&str; 2] = ["sh", "console"];
/// Languages of the other blocks.
const OTHERS: [&str; 5] = ["hcl", "json", "mermaid", "text", "yaml"];

fn has_commands(block: &Block) -> bool {
    COMMANDS.contains(&block.language.as_str())
}

fn mark(block: &Block) -> Result<Mark> {
    let comment = block.comment.as_deref().context("a comment above it must say where the commands run")?;
    let (kind, rest) = comment.split_once(": ").unwrap_or((comment, ""));
    match (kind, rest) {
        ("run", place) => Ok(Mark::Run(Place::parse(place)?)),
        ("test", name) if !name.is_empty() => Ok(Mark::Test(name.to_owned())),
        ("not run", reason) if !reason.is_empty() => Ok(Mark::NotRun),
        _ => bail!("{comment:?} is none of `run: PLACE`, `test: NAME`, `not run: REASON`"),
    }
}

#[test]
fn blocks_of_commands_say_where_they_run() -> Result<()> {
    let mut tests = String::new();
    for folder in ["crates", "controller", "webhook", "cli", "tests/tests"] {
        read_sources(&root().join(folder), &mut tests)?;
    }
    let (mut problems, mut count) = (Vec::new(), 0);
    for page in all()? {
        for block in page.blocks.iter().filter(|block| has_commands(block)) {
            count += 1;
            let problem = match mark(block) {
                Err(error) => Some(error.to_string()),
                Ok(Mark::Test(name)) if !tests.contains(&format!("fn {name}(")) => {
                    Some(format!("no test {name}"))
                }
                Ok(_) => None,
            };
            let place = format!("{}:{}", page.path.display(), block.line);
            problems.extend(problem.map(|text| format!("{place}: {text}")));
        }
    }
    assert!(problems.is_empty(), "blocks of commands (see CONTRIBUTING.md):\n{}", problems.join("\n"));
    assert!(count > 40, "{count} blocks were found");
    Ok(())
}

/// A block of another language could have commands that no test sees.
#[test]
fn blocks_have_a_known_language() -> Result<()> {
    let mut problems = Vec::new();
    for page in all()? {
        for block in &page.blocks {
            let place = format!("{}:{}", page.path.display(), block.line);
            if !has_commands(block) && !OTHERS.contains(&block.language.as_str()) {
                problems.push(format!("{place}: {:?} is none of {COMMANDS:?}, {OTHERS:?}", block.language));
            } else if !has_commands(block) && block.text.lines().any(|line| line.starts_with("$ ")) {
                problems.push(format!("{place}: the language of lines with a prompt is console"));
            }
        }
    }
    assert!(problems.is_empty(), "languages of blocks:\n{}", problems.join("\n"));
    Ok(())
}

/// Runs the commands of a page.
async fn run(page: &str) -> Result<()> {
    let page = Page::read(Path::new(page))?;
    for place in Place::ALL {
        let blocks = blocks(&page, place);
        if !blocks.is_empty() {
            place.run(&blocks).await.with_context(|| format!("commands of {}", page.path.display()))?;
        }
    }
    Ok(())
}

/// Blocks that run in a place. In a registry's folder, the files for the commands are blocks too.
fn blocks(page: &Page, place: Place) -> Vec<&Block> {
    let runs =
        |block: &&Block| has_commands(block) && matches!(mark(block), Ok(Mark::Run(found)) if found == place);
    let is_file = |block: &&Block| place == Place::Registry && block.file().is_some();
    page.blocks.iter().filter(|block| runs(block) || is_file(block)).collect()
}

/// Makes a test of each page that has commands to run.
macro_rules! pages {
    ($($test:ident: $page:literal;)+) => {
        /// Pages whose commands run.
        const PAGES: &[&str] = &[$($page),+];
        $(
            #[tokio::test]
            async fn $test() -> Result<()> {
                run($page).await
            }
        )+
    };
}

pages! {
    readme_runs: "README.md";
    chart_readme_runs: "charts/zstart/README.md";
    credentials_run: "docs/credentials.md";
    install_runs: "docs/install.md";
    jobs_run: "docs/jobs.md";
    operating_runs: "docs/operating.md";
    quickstart_cluster_runs: "docs/quickstart-cluster.md";
    quickstart_eks_runs: "docs/quickstart-eks.md";
    quickstart_fargate_runs: "docs/quickstart-fargate.md";
    quickstart_kind_runs: "docs/quickstart-kind.md";
    quickstart_lab_runs: "docs/quickstart-lab.md";
    rewrite_runs: "docs/rewrite.md";
    troubleshooting_runs: "docs/troubleshooting.md";
    verify_runs: "docs/verify.md";
}

/// Each page in the list above has commands to run, and each such page is in the list.
#[test]
fn pages_with_commands_have_a_test() -> Result<()> {
    let runs = |page: &Page| {
        let marks = page.blocks.iter().filter(|block| has_commands(block)).map(mark);
        marks.flatten().any(|mark| matches!(mark, Mark::Run(_)))
    };
    let pages = all()?;
    let pages = pages.iter().filter(|page| runs(page));
    let pages: BTreeSet<_> = pages.map(|page| page.path.display().to_string()).collect();
    let tested: BTreeSet<_> = PAGES.iter().map(|&page| page.to_owned()).collect();
    assert_eq!(pages, tested, "the list `pages!` of tests/tests/docs/commands.rs differs from the pages");
    Ok(())
}

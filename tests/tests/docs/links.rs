//! The links of the documents, and the table of contents of the book.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use anyhow::Result;

use crate::markdown::{Page, all, root};

/// Resolves a relative path against the folder of a page.
fn resolve(page: &Path, target: &str) -> PathBuf {
    let mut path = page.parent().map(Path::to_owned).unwrap_or_default();
    for component in Path::new(target).components() {
        match component {
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    path
}

/// Names what is wrong with a link, except links to other sites: tests ask no other machine.
fn problem(page: &Page, target: &str) -> Result<Option<String>> {
    if target.contains("://") {
        return Ok((!target.starts_with("https://")).then(|| format!("{target} isn't https")));
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() { page.path.clone() } else { resolve(&page.path, path) };
    if !root().join(&path).exists() {
        return Ok(Some(format!("{target} leads to {}, which doesn't exist", path.display())));
    }
    if path == Path::new("docs/README.md")
        && page.path.starts_with("docs")
        && !page.path.ends_with("SUMMARY.md")
    {
        return Ok(Some("the book renames README.md to index.html: link to another page".to_owned()));
    }
    if anchor.is_empty() || path.extension().is_none_or(|extension| extension != "md") {
        return Ok(None);
    }
    let anchors = Page::read(&path)?.anchors;
    Ok((!anchors.contains(anchor)).then(|| format!("{} has no heading #{anchor}", path.display())))
}

#[test]
fn links_of_the_documents_lead_somewhere() -> Result<()> {
    let mut problems = Vec::new();
    let mut count = 0;
    for page in all()? {
        for link in &page.links {
            count += 1;
            let found = problem(&page, &link.target)?;
            problems.extend(found.map(|text| format!("{}:{}: {text}", page.path.display(), link.line)));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(count > 200, "{count} links were found");
    Ok(())
}

#[test]
fn book_has_every_page_and_no_other() -> Result<()> {
    let summary = Path::new("docs/SUMMARY.md");
    let listed: BTreeSet<PathBuf> =
        Page::read(summary)?.links.iter().map(|link| resolve(summary, &link.target)).collect();
    let pages = all()?.into_iter().map(|page| page.path);
    let pages: BTreeSet<PathBuf> = pages.filter(|path| path.starts_with("docs") && path != summary).collect();
    let absent: Vec<_> = pages.difference(&listed).collect();
    assert!(absent.is_empty(), "docs/SUMMARY.md lacks {absent:?}");
    let unknown: Vec<_> = listed.difference(&pages).collect();
    assert!(unknown.is_empty(), "docs/SUMMARY.md has {unknown:?}, which don't exist");
    Ok(())
}

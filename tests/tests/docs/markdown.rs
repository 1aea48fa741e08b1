//! Parts of a Markdown file that tests check.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A Markdown file of the repository.
pub(crate) struct Page {
    /// Path in the repository.
    pub(crate) path: PathBuf,
    pub(crate) links: Vec<Link>,
    /// Names after `#` that lead into this page: of headings, as GitHub and mdBook make them, and of `<a id="…">`.
    pub(crate) anchors: BTreeSet<String>,
    pub(crate) blocks: Vec<Block>,
}

/// A link or an image.
pub(crate) struct Link {
    pub(crate) line: usize,
    pub(crate) target: String,
}

/// A fenced code block.
pub(crate) struct Block {
    pub(crate) line: usize,
    /// First word after the fence.
    pub(crate) language: String,
    pub(crate) text: String,
    /// HTML comment directly above the block.
    pub(crate) comment: Option<String>,
}

/// Folder of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Pages of the book, and the other Markdown files for users.
pub(crate) fn all() -> Result<Vec<Page>> {
    let mut paths = vec![
        PathBuf::from("README.md"),
        "CONTRIBUTING.md".into(),
        "SECURITY.md".into(),
        "charts/zstart/README.md".into(),
    ];
    for entry in std::fs::read_dir(root().join("docs"))? {
        let name = PathBuf::from(entry?.file_name());
        if name.extension().is_some_and(|extension| extension == "md") {
            paths.push(Path::new("docs").join(name));
        }
    }
    paths.sort();
    paths.iter().map(|path| Page::read(path)).collect()
}

impl Block {
    /// Commands of the block. In a block of language `console`, the lines with a prompt.
    pub(crate) fn commands(&self) -> String {
        if self.language != "console" {
            return self.text.clone();
        }
        let lines = self.text.lines().filter_map(|line| line.strip_prefix("$ "));
        lines.flat_map(|line| [line, "\n"]).collect()
    }

    /// Name of the file that the block is.
    pub(crate) fn file(&self) -> Option<&str> {
        self.comment.as_deref()?.strip_prefix("file: ")
    }
}

impl Page {
    /// Reads a file of the repository.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(root().join(path))
            .with_context(|| format!("failed to read {}", path.display()))?;
        let mut page =
            Self { path: path.to_owned(), links: Vec::new(), anchors: BTreeSet::new(), blocks: Vec::new() };
        let mut headings = BTreeMap::new();
        let mut heading: Option<String> = None;
        let mut block: Option<Block> = None;
        let mut comment = None;
        for (event, range) in Parser::new_ext(&text, Options::ENABLE_TABLES).into_offset_iter() {
            let line = text[..range.start].matches('\n').count() + 1;
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    page.anchors.extend(heading.take().map(|title| unique(slug(&title), &mut headings)));
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(Link { line, target: dest_url.into_string() });
                }
                Event::Start(Tag::CodeBlock(kind)) => {
                    let language = match &kind {
                        CodeBlockKind::Fenced(info) => info.split([' ', ',']).next().unwrap_or_default(),
                        CodeBlockKind::Indented => "",
                    };
                    let (language, text) = (language.to_owned(), String::new());
                    block = Some(Block { line, language, text, comment: comment.take() });
                }
                Event::End(TagEnd::CodeBlock) => page.blocks.extend(block.take()),
                Event::Text(part) | Event::Code(part) => {
                    if let Some(block) = &mut block {
                        block.text.push_str(&part);
                    }
                    if let Some(heading) = &mut heading {
                        heading.push_str(&part);
                    }
                    comment = None;
                }
                Event::Html(html) | Event::InlineHtml(html) => {
                    let named = html.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next());
                    page.anchors.extend(named.map(str::to_owned));
                    let html = html.trim().strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->"));
                    comment = html.map(|inner| inner.trim().to_owned());
                }
                _ => {}
            }
        }
        Ok(page)
    }
}

/// Anchor of a heading.
fn slug(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).flat_map(char::to_lowercase).collect()
}

/// Numbers the second and later headings with one anchor.
fn unique(slug: String, headings: &mut BTreeMap<String, usize>) -> String {
    let count = headings.entry(slug.clone()).or_default();
    *count += 1;
    if *count == 1 { slug } else { format!("{slug}-{}", *count - 1) }
}

#[test]
fn anchors_are_those_of_github_and_mdbook() {
    assert_eq!(slug("A pod can't pull its image (`X`)"), "a-pod-cant-pull-its-image-x");
    assert_eq!(slug("eStargz and zstd:chunked"), "estargz-and-zstdchunked");
    let mut headings = BTreeMap::new();
    assert_eq!(unique("tests".to_owned(), &mut headings), "tests");
    assert_eq!(unique("tests".to_owned(), &mut headings), "tests-1");
}

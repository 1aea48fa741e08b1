//! Tables of the chart's values for its README and for the book, made from the comments in `values.yaml`.
//!
//! The comment directly above a value is its description. A map whose members have no comments is one value. Each
//! other map is a section, and every value in it needs a comment.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::generated::section;

/// Sections with more rows have a table of their own.
const SMALL_SECTION: usize = 8;

/// Start of the book's page.
const INTRODUCTION: &str = "\
# Settings

Every value of the Helm chart with its default, generated from the comments in \
[`values.yaml`](../charts/zstart/values.yaml) by `make generate`. Helm checks values against `values.schema.json` and \
refuses an unknown or malformed value with its path. A duration is a number and one unit: `90s`, `10m`, `1h`. The chart \
writes the configuration files of both programs from these values. [Install](install.md) has the values for some \
platforms.

";

/// Document that has the tables.
#[derive(Clone, Copy)]
struct Target {
    /// Path from the document's folder to `docs/`.
    docs: &'static str,
    /// Marks of a section's heading.
    heading: &'static str,
}

const README: Target = Target { docs: "../../docs/", heading: "###" };
const PAGE: Target = Target { docs: "", heading: "##" };

/// A key of the file, with the comment above it.
struct Entry {
    indent: usize,
    path: Vec<String>,
    comment: String,
}

/// A row of a table. A section's row has no default.
struct Row {
    path: String,
    default: Option<Value>,
    comment: String,
}

/// Replaces the tables in the chart's README.
pub fn replace(readme: &str, values: &str) -> Result<String> {
    section::replace(readme, "values", &tables(values, README)?)
}

/// The book's page of all values.
pub fn page(values: &str) -> Result<String> {
    Ok(format!("{INTRODUCTION}{}", tables(values, PAGE)?))
}

/// Paths of all values, e.g. `controller.level`.
pub fn paths(values: &str) -> Result<Vec<String>> {
    let rows = sections(values)?.into_iter().flat_map(|(_, rows)| rows);
    Ok(rows.filter(|row| row.default.is_some()).map(|row| row.path).collect())
}

/// Rows of each top-level key.
fn sections(text: &str) -> Result<Vec<(String, Vec<Row>)>> {
    let values: Value = serde_saphyr::from_str(text)?;
    let entries = entries(text);
    let mut sections = Vec::new();
    for (index, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.indent == 0) {
        let mut rows = Vec::new();
        collect(&entries, index, &values, &mut rows)?;
        sections.push((entry.path.join("."), rows));
    }
    Ok(sections)
}

fn tables(text: &str, target: Target) -> Result<String> {
    let mut general = Vec::new();
    let mut large = Vec::new();
    for (name, mut rows) in sections(text)? {
        if rows.len() > SMALL_SECTION {
            // The section's own row is the introduction of its table.
            let introduction = rows.remove(0).comment;
            large.push((name, introduction, rows));
        } else {
            general.extend(rows);
        }
    }
    let heading = target.heading;
    let mut output = format!("{heading} General\n\n{}", table(&general, target)?);
    for (name, introduction, rows) in large {
        let introduction = prose(&name, &introduction, target)?;
        write!(output, "\n{heading} {name}\n\n{introduction}\n\n{}", table(&rows, target)?)?;
    }
    Ok(output)
}

/// Keys outside of lists. Keys inside a value that is one row are among them; they have no comment.
fn entries(text: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in text.lines() {
        let content = line.trim_start();
        let indent = line.len() - content.len();
        if let Some(said) = content.strip_prefix('#') {
            comment.push(said.trim());
            continue;
        }
        let key = content.split_once(':').map(|(key, _)| key);
        if let Some(key) = key.filter(|key| key.chars().all(|c| c.is_ascii_alphanumeric())) {
            let parent = entries.iter().rev().find(|entry| entry.indent < indent);
            let mut path = parent.filter(|_| indent > 0).map(|entry| entry.path.clone()).unwrap_or_default();
            path.push(key.to_owned());
            entries.push(Entry { indent, path, comment: comment.join(" ") });
        }
        comment.clear();
    }
    entries
}

/// Adds the rows of an entry and of its members.
fn collect(entries: &[Entry], index: usize, values: &Value, rows: &mut Vec<Row>) -> Result<()> {
    let entry = &entries[index];
    let path = entry.path.join(".");
    let members = entries[index + 1..].iter().take_while(|member| member.indent > entry.indent);
    let below: Vec<(usize, &Entry)> =
        members.enumerate().map(|(offset, member)| (index + 1 + offset, member)).collect();
    let is_section = below.iter().any(|(_, member)| !member.comment.is_empty());
    if !is_section {
        ensure!(!entry.comment.is_empty(), "values.yaml: {path} has no comment");
        let default = values.pointer(&format!("/{}", entry.path.join("/")));
        let default =
            default.with_context(|| format!("values.yaml: {path} isn't in the parsed file"))?.clone();
        rows.push(Row { path, default: Some(default), comment: entry.comment.clone() });
        return Ok(());
    }
    if !entry.comment.is_empty() {
        rows.push(Row { path, default: None, comment: entry.comment.clone() });
    }
    let depth = below.first().map(|(_, member)| member.indent);
    for (index, _) in below.iter().filter(|(_, member)| Some(member.indent) == depth) {
        collect(entries, *index, values, rows)?;
    }
    Ok(())
}

fn table(rows: &[Row], target: Target) -> Result<String> {
    let mut output = "| value | default | meaning |\n|---|---|---|\n".to_owned();
    for row in rows {
        let default = row.default.as_ref().map(|value| format!("`{value}`")).unwrap_or_default();
        // A bar doesn't end the cell.
        let meaning = prose(&row.path, &row.comment, target)?.replace('|', "\\|");
        writeln!(output, "| `{}` | {default} | {meaning} |", row.path)?;
    }
    Ok(output)
}

/// A comment as Markdown: documents are links.
fn prose(path: &str, comment: &str, target: Target) -> Result<String> {
    let prose = comment.split('`').step_by(2).collect::<String>();
    if let Some(character) = prose.chars().find(|c| "*<|".contains(*c)) {
        bail!(
            "values.yaml: Markdown reads the {character} in the comment of {path} as markup: put it into backticks"
        );
    }
    let mut output = String::new();
    let mut rest = comment;
    while let Some((before, after)) = rest.split_once("docs/") {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-#.".contains(c);
        let end = after.find(|c| !is_part(c)).unwrap_or(after.len());
        let link = after[..end].trim_end_matches('.');
        let file = link.split('#').next().unwrap_or(link);
        write!(output, "{before}[docs/{file}]({}{link})", target.docs)?;
        rest = &after[link.len()..];
    }
    output.push_str(rest);
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: &str = "\
# A file.

# Level, see docs/a-b.md#c.
level: 3

# Both programs.
both:
  # A list.
  names: []
  # A map.
  labels:
    a.b/c: d
    team: e
";

    #[test]
    fn comments_become_rows_in_the_files_order() {
        let expected = "### General\n\n| value | default | meaning |\n|---|---|---|\n\
             | `level` | `3` | Level, see [docs/a-b.md](../../docs/a-b.md#c). |\n\
             | `both` |  | Both programs. |\n\
             | `both.names` | `[]` | A list. |\n\
             | `both.labels` | `{\"a.b/c\":\"d\",\"team\":\"e\"}` | A map. |\n";
        assert_eq!(tables(VALUES, README).unwrap(), expected);
        let page = page(VALUES).unwrap();
        assert!(page.contains("\n\n## General\n\n| value |"), "{page}");
        assert!(page.contains("see [docs/a-b.md](a-b.md#c). |"), "{page}");
    }

    #[test]
    fn paths_name_values_and_no_sections() {
        assert_eq!(paths(VALUES).unwrap(), ["level", "both.names", "both.labels"]);
    }

    #[test]
    fn value_without_a_comment_is_an_error() {
        let error = tables(&VALUES.replace("  # A list.\n", ""), README).unwrap_err().to_string();
        assert_eq!(error, "values.yaml: both.names has no comment");
    }

    #[test]
    fn markup_in_a_comment_is_an_error() {
        let error =
            tables(&VALUES.replace("A list.", "Patterns such as * of `*`."), README).unwrap_err().to_string();
        assert!(error.contains("the * in the comment of both.names"), "{error}");
        tables(&VALUES.replace("A list.", "Patterns such as `*`."), README).unwrap();
    }
}

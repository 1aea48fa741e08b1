//! Commands of a page with the outputs that it shows.
//!
//! `…` within a line of an output is any text, and a line with nothing else is any number of lines. The width of gaps
//! doesn't count.

use anyhow::{Context as _, Result};

/// Any text, or any lines.
const ANY: &str = "…";

/// Parts of a page, in their order.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// Block below the comment `<!-- file: NAME -->`.
    File {
        /// Name of the file.
        name: String,
        /// Text of the block.
        content: String,
    },
    /// Command of a block of language `console`.
    Command {
        /// Command, in one or several lines.
        command: String,
        /// Lines that the page shows below the command.
        output: Vec<String>,
    },
}

/// Reads the parts of a Markdown page.
pub fn parts(page: &str) -> Result<Vec<Part>> {
    let (mut parts, mut lines, mut file) = (Vec::new(), page.lines(), None);
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("<!-- file: ").and_then(|rest| rest.strip_suffix(" -->")) {
            file = Some(name.to_owned());
        } else if let Some(language) = line.strip_prefix("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            match file.take() {
                Some(name) => parts.push(Part::File { name, content: block.join("\n") + "\n" }),
                None if language == "console" => parts.extend(commands(&block)?),
                None => {}
            }
        }
    }
    Ok(parts)
}

/// Reads the lines of a block of language `console`.
pub fn commands(block: &[&str]) -> Result<Vec<Part>> {
    let (mut parts, mut lines) = (Vec::new(), block.iter().peekable());
    while let Some(line) = lines.next() {
        let mut command = line.strip_prefix("$ ").with_context(|| format!("no prompt: {line}"))?.to_owned();
        while command.ends_with('\\') {
            let more = lines.next().with_context(|| format!("the next line is missing: {command}"))?;
            command = format!("{command}\n{more}");
        }
        let mut output = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
            output.push((*line).to_owned());
        }
        parts.push(Part::Command { command, output });
    }
    Ok(parts)
}

/// Returns whether an output is the shown one.
pub fn is_shown(shown: &[String], actual: &str) -> bool {
    let lines: Vec<String> = actual.lines().map(squeeze).filter(|line| !line.is_empty()).collect();
    let shown: Vec<String> = shown.iter().map(|line| squeeze(line)).filter(|line| !line.is_empty()).collect();
    match_lines(&shown, &lines)
}

fn match_lines(shown: &[String], lines: &[String]) -> bool {
    match shown.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first == ANY => {
            (0..=lines.len()).any(|skip| match_lines(rest, &lines[skip..]))
        }
        Some((first, rest)) => lines
            .split_first()
            .is_some_and(|(line, others)| match_line(first, line) && match_lines(rest, others)),
    }
}

fn match_line(shown: &str, line: &str) -> bool {
    let Some((start, rest)) = shown.split_once(ANY) else { return shown == line };
    let Some(line) = line.strip_prefix(start) else { return false };
    let ends = line.char_indices().map(|(index, _)| index).chain([line.len()]);
    ends.into_iter().any(|index| match_line(rest, &line[index..]))
}

/// Makes each gap one space wide.
fn squeeze(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_is_read_as_files_and_commands() {
        let page = "text\n<!-- file: a.yaml -->\n```yaml\na: 1\n```\n<!-- test: t -->\n```console\n$ one \\\n    two\nout\n$ three\n```\n```sh\nfour\n```\n";
        let command = |command: &str, output: &[&str]| Part::Command {
            command: command.to_owned(),
            output: output.iter().map(|line| (*line).to_owned()).collect(),
        };
        let file = Part::File { name: "a.yaml".to_owned(), content: "a: 1\n".to_owned() };
        assert_eq!(parts(page).unwrap(), [file, command("one \\\n    two", &["out"]), command("three", &[])]);
        assert!(parts("```console\nout\n```\n").is_err());
    }

    #[test]
    fn output_matches_with_any_text_and_any_lines() {
        let shown = |shown: &[&str], actual: &str| {
            is_shown(&shown.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>(), actual)
        };
        assert!(shown(&["NAME   READY", "app-…  True  …s"], "NAME      READY\n\napp-1f    True   12s\n"));
        assert!(!shown(&["app-…  True"], "app-1f  False\n"));
        assert!(shown(&["first", "…", "last"], "first\nlast\n"));
        assert!(shown(&["first", "…", "last"], "first\na\nlast\nb\nlast\n"));
        assert!(!shown(&["first", "…", "last"], "first\nlast\nmore\n"));
        assert!(!shown(&["first"], "first\nmore\n"));
    }
}

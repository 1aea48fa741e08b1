//! The list of error messages in docs/messages.md, against the programs and the chart.
//!
//! A message is compared without its names and numbers: `…` replaces each. A line of the page that ends with ` …` is
//! the start of a message.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::path::Path;
use std::str::Chars;

use anyhow::{Context as _, Result};

use crate::markdown::{Page, root};
use crate::tables::read_sources;

const PAGE: &str = "docs/messages.md";
/// Words that tell the start of a message from that of another one.
const WORDS_MIN: usize = 3;

/// Reads the rest of a string literal. Its escapes are those of Rust, which include those of Go's templates.
fn literal(characters: &mut Peekable<Chars<'_>>) -> String {
    let mut text = String::new();
    while let Some(character) = characters.next().filter(|&character| character != '"') {
        match (character, characters.peek()) {
            ('\\', Some('\n')) => {
                while characters.next_if(|character| character.is_whitespace()).is_some() {}
            }
            ('\\', _) => text.extend(characters.next()),
            _ => text.push(character),
        }
    }
    text
}

/// String literals that follow a text and, perhaps, white space.
fn literals(code: &str, before: &str) -> Vec<String> {
    let found = code.split(before).skip(1);
    found
        .filter_map(|rest| Some(literal(&mut rest.trim_start().strip_prefix('"')?.chars().peekable())))
        .collect()
}

/// Replaces the arguments of a format string of Rust.
fn without_arguments(format: &str) -> String {
    let (mut text, mut characters) = (String::new(), format.chars().peekable());
    while let Some(character) = characters.next() {
        match character {
            '{' | '}' if characters.next_if_eq(&character).is_some() => text.push(character),
            '{' => {
                characters.by_ref().take_while(|&character| character != '}').for_each(drop);
                text.push('…');
            }
            _ => text.push(character),
        }
    }
    text
}

/// Messages of the programs' error types, and of the chart.
fn messages() -> Result<BTreeSet<String>> {
    let mut code = String::new();
    for folder in ["crates", "controller/src", "webhook/src", "cli/src"] {
        read_sources(&root().join(folder), &mut code)?;
    }
    let mut messages: BTreeSet<String> =
        literals(&code, "#[error(").iter().map(|format| without_arguments(format)).collect();
    let mut templates = String::new();
    read_templates(&root().join("charts/zstart/templates"), &mut templates)?;
    for before in ["fail ", "fail (printf "] {
        let formats = literals(&templates, before);
        assert!(formats.len() > 3, "{before}{formats:?}");
        messages.extend(formats.iter().map(|format| {
            ["%s", "%d", "%q"].iter().fold(format.clone(), |text, verb| text.replace(verb, "…"))
        }));
    }
    // Others have no words of their own: they quote another message.
    messages.retain(|message| message.contains(char::is_alphanumeric));
    assert!(messages.len() > 250, "{} messages were found", messages.len());
    Ok(messages)
}

fn read_templates(folder: &Path, into: &mut String) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read_templates(&path, into)?;
        } else {
            into.push_str(&std::fs::read_to_string(path)?);
        }
    }
    Ok(())
}

/// Messages that the page lists: lines of its blocks, and code in the first cells of its tables.
fn listed() -> Result<BTreeSet<String>> {
    let path = Path::new(PAGE);
    let blocks = Page::read(path)?.blocks;
    let lines = blocks.iter().flat_map(|block| block.text.lines()).map(str::to_owned);
    let text = std::fs::read_to_string(root().join(path)).context(PAGE)?;
    let cells = text.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let words = cells.flat_map(|cell| cell.split('`').step_by(2).map(str::to_owned));
    Ok(lines.chain(words).collect())
}

fn is_listed_as(message: &str, line: &str) -> bool {
    let words =
        |text: &str| text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).count();
    let is_start = |start: &str| words(start) >= WORDS_MIN && message.starts_with(start);
    message == line || line.strip_suffix(" …").is_some_and(is_start)
}

#[test]
fn messages_document_lists_every_message_and_no_other() -> Result<()> {
    let (messages, listed) = (messages()?, listed()?);
    let absent: Vec<_> =
        messages.iter().filter(|message| !listed.iter().any(|line| is_listed_as(message, line))).collect();
    assert!(absent.is_empty(), "{PAGE} lacks the messages {absent:#?}");
    let unknown: Vec<_> =
        listed.iter().filter(|line| !messages.iter().any(|message| is_listed_as(message, line))).collect();
    assert!(unknown.is_empty(), "{PAGE} has messages that no program prints: {unknown:#?}");
    Ok(())
}

#[test]
fn messages_are_read_without_their_arguments() {
    let code =
        "#[error(\n    \"failed to {verb} {{x}} in {}; write \\\"a\\\", \\\n     or b\", file.display()\n)]";
    let found: Vec<_> = literals(code, "#[error(").iter().map(|format| without_arguments(format)).collect();
    assert_eq!(found, ["failed to … {x} in …; write \"a\", or b"]);
    assert!(is_listed_as("no server listens at …: why", "no server listens at …"));
    assert!(!is_listed_as("failed to read a file", "failed to …"));
}

//! Texts that follow from the definition of the command line: completions, man pages, and the reference.

use std::path::Path;

use clap::{Command, CommandFactory as _};

use crate::args::Arguments;
use crate::error::CliError;
use crate::output;

/// Columns of the reference's texts.
const REFERENCE_COLUMNS: usize = 100;
/// Start of the reference.
const REFERENCE_INTRODUCTION: &str = "\
# Command line

Generated from the program by `make generate`. `zstart COMMAND --help` prints the same texts; `zstart completion SHELL` \
prints completions, and `zstart man FOLDER` writes man pages. Under the name `kubectl-zstart`, the program is a plugin of \
kubectl.
";

/// Prints the completions of a shell.
pub(crate) fn completion(shell: clap_complete::Shell) -> Result<(), CliError> {
    let mut command = Arguments::command();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "zstart", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}

/// Writes a man page for each command.
pub(crate) fn man(folder: &Path) -> Result<(), CliError> {
    clap_mangen::generate_to(Arguments::command(), folder)
        .map_err(|source| CliError::WriteMan { folder: folder.to_owned(), source })
}

/// Prints the help of each command in Markdown.
pub(crate) fn reference() -> Result<(), CliError> {
    let mut command = Arguments::command().bin_name("zstart").term_width(REFERENCE_COLUMNS);
    command.build();
    let mut text = REFERENCE_INTRODUCTION.to_owned() + &section("zstart", &mut command);
    for command in command.get_subcommands_mut().filter(|command| !command.is_hide_set()) {
        if command.get_name() != "help" {
            text += &section(&format!("zstart {}", command.get_name()), command);
        }
    }
    output::print(&text)
}

fn section(title: &str, command: &mut Command) -> String {
    let help = command.render_long_help().to_string();
    let lines: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    format!("\n## {title}\n\n```text\n{}\n```\n", lines.join("\n"))
}

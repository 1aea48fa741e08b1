//! Printing of a command's result to stdout: text for people, JSON for programs.

use std::io::Write;

use clap::ValueEnum;
use serde::Serialize;

use crate::error::CliError;

/// Form of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Lines for people.
    Text,
    /// JSON for programs.
    Json,
}

impl OutputFormat {
    /// Prints a report: `report` serialized, or the lines that `text` returns, which may have styles.
    pub(crate) fn print(
        self,
        report: &impl Serialize,
        text: impl FnOnce() -> Vec<String>,
    ) -> Result<(), CliError> {
        match self {
            Self::Text => write(&mut anstream::stdout(), &text().join("\n")),
            Self::Json => {
                let text = serde_json::to_string_pretty(report);
                let text =
                    text.map_err(|error| CliError::Serialize { object: "the result", source: error.into() })?;
                write(&mut std::io::stdout(), &text)
            }
        }
    }
}

fn write(stdout: &mut impl Write, text: &str) -> Result<(), CliError> {
    writeln!(stdout, "{text}").map_err(|source| CliError::Print { source })
}

/// Writes text to stdout, byte for byte.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    std::io::stdout().write_all(text.as_bytes()).map_err(|source| CliError::Print { source })
}

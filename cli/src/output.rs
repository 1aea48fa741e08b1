//! Printing of a command's result to stdout: text for people, JSON for programs.

use std::io::Write as _;

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
    /// Prints a report: `report` serialized, or the lines that `text` returns.
    pub(crate) fn print(
        self,
        report: &impl Serialize,
        text: impl FnOnce() -> Vec<String>,
    ) -> Result<(), CliError> {
        let text = match self {
            Self::Text => text().join("\n"),
            Self::Json => serde_json::to_string_pretty(report)
                .map_err(|error| CliError::Serialize { object: "the result", source: error.into() })?,
        };
        print(&format!("{text}\n"))
    }
}

/// Writes text to stdout.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    std::io::stdout().write_all(text.as_bytes()).map_err(|source| CliError::Print { source })
}

//! `zstart crd`: the custom resource definitions, in the form that the chart ships.

use crate::error::CliError;
use crate::output;

/// Prints the definitions as YAML documents.
pub(crate) fn print() -> Result<(), CliError> {
    let definitions = zstart_core::custom_resources();
    let documents: Result<Vec<String>, _> = definitions.iter().map(serde_saphyr::to_string).collect();
    let documents =
        documents.map_err(|error| CliError::Serialize { object: "the definitions", source: error.into() })?;
    output::print(&format!(
        "# Generated from crates/core/src/record.rs and crates/core/src/owner_hold.rs by \
         `cargo run -q -p zstart-cli -- crd`. Don't edit.\n{}",
        documents.join("---\n")
    ))
}

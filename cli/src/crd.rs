//! `zstart crd`: the custom resource definition, in the form that the chart ships.

use kube::CustomResourceExt as _;
use zstart_core::ImageConversion;

use crate::error::CliError;
use crate::output;

/// Prints the definition as YAML.
pub(crate) fn print() -> Result<(), CliError> {
    let yaml = serde_saphyr::to_string(&ImageConversion::crd())
        .map_err(|error| CliError::Serialize { object: "the definition", source: error.into() })?;
    output::print(&format!(
        "# Generated from crates/core/src/record.rs by `cargo run -q -p zstart-cli -- crd`. Don't edit.\n{yaml}"
    ))
}

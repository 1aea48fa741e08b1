//! `zstart crd`: the custom resource definition, as the chart carries it.

use std::io::Write as _;

use kube::CustomResourceExt as _;
use zstart_core::ImageConversion;

use crate::error::CliError;

/// Prints the definition as YAML.
pub(crate) fn print() -> Result<(), CliError> {
    let yaml = serde_saphyr::to_string(&ImageConversion::crd())
        .map_err(|error| CliError::Serialize { what: "the definition", message: error.to_string() })?;
    let text = format!(
        "# Made from crates/core/src/record.rs by `cargo run -q -p zstart-cli -- crd`. Don't edit.\n{yaml}"
    );
    std::io::stdout().write_all(text.as_bytes()).map_err(|source| CliError::Print { source })
}

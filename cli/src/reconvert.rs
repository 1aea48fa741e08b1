//! `zstart reconvert`: asks the controller for variants of its current settings.

use zstart_core::keys;

use crate::args::ReconvertArguments;
use crate::error::CliError;
use crate::records::request_of_controller;

/// Annotates the records.
pub(crate) async fn run(arguments: ReconvertArguments) -> Result<(), CliError> {
    let ReconvertArguments { records, output } = arguments;
    let requested = request_of_controller(records, keys::RECONVERT).await?;
    output.format().print(&requested, || requested.lines("a variant of its current settings of"))
}

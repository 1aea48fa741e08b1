//! `zstart retry`: asks the controller to look at sources now.

use zstart_core::keys;

use crate::args::RetryArguments;
use crate::error::CliError;
use crate::records::request_of_controller;

/// Annotates the records.
pub(crate) async fn run(arguments: RetryArguments) -> Result<(), CliError> {
    let RetryArguments { records, output } = arguments;
    let requested = request_of_controller(records, keys::RETRY).await?;
    output.format().print(&requested, || requested.lines("a look at"))
}

//! `zstart`: converts container images to zstd layers, inspects and verifies them, and measures zstd levels. Also
//! `kubectl zstart`.

mod args;
mod auth_files;
mod check;
mod cluster;
mod convert;
mod crd;
mod deployments;
mod error;
mod explain;
mod image_ref;
mod inspect;
mod layer_cache;
mod manual;
mod opt_in;
mod output;
mod progress;
mod reconvert;
mod records;
mod registries;
mod report;
mod retry;
mod rewrite;
mod status;
mod style;
mod tune;
mod verify;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use zstart_process::signals::StopSignals;

use self::args::{Arguments, Command};
use self::error::CliError;

fn main() -> ExitCode {
    let Arguments { command, log } = Arguments::parse();
    // Installs the process's only crypto provider. The call fails if one is installed already, which no
    // earlier code does.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tracing_subscriber::fmt()
        .with_env_filter(log.into_filter())
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .init();
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.report();
            error.exit_code()
        }
    }
}

fn run(command: Command) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| CliError::Runtime { source })?;
    let result = runtime.block_on(async {
        let mut signals = StopSignals::new().map_err(|source| CliError::Signals { source })?;
        let command = async {
            match command {
                Command::Convert(arguments) => convert::run(arguments).await,
                Command::Rewrite(arguments) => rewrite::run(arguments).await,
                Command::Inspect(arguments) => inspect::run(arguments).await,
                Command::Tune(arguments) => tune::run(arguments).await,
                Command::Verify(arguments) => verify::run(arguments).await,
                Command::Explain(arguments) => explain::run(arguments).await,
                Command::Check(arguments) => check::run(arguments).await,
                Command::Enable(arguments) => opt_in::enable(arguments).await,
                Command::Disable(arguments) => opt_in::disable(arguments).await,
                Command::Status(arguments) => status::run(arguments).await,
                Command::Report(arguments) => report::run(arguments).await,
                Command::Retry(arguments) => retry::run(arguments).await,
                Command::Reconvert(arguments) => reconvert::run(arguments).await,
                Command::Completion { shell } => manual::completion(shell),
                Command::Man { folder } => manual::man(&folder),
                Command::Reference => manual::reference(),
                Command::Crd => crd::print(),
            }
        };
        tokio::select! {
            result = command => result,
            // Uploads that are in progress have no tag yet, so no partial variant remains.
            () = signals.next() => Err(CliError::Stopped),
        }
    });
    // Threads that convert a layer end at their next read or write, so the process doesn't wait for them.
    runtime.shutdown_background();
    result
}

//! `zstart`: container images with zstd layers, made and looked at. Also `kubectl zstart`.

mod args;
mod convert;
mod crd;
mod error;
mod image_ref;
mod inspect;
mod layer_cache;
mod progress;
mod registries;
mod tune;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use zstart_process::signals::StopSignals;

use self::args::{Arguments, Command};
use self::error::CliError;

fn main() -> ExitCode {
    let Arguments { command, log } = Arguments::parse();
    // One crypto provider for the process; that another one is there already can't be.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tracing_subscriber::fmt()
        .with_env_filter(log.into_filter())
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .init();
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            failure.exit_code()
        }
    }
}

fn run(command: Command) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| CliError::Runtime { source })?;
    let result = runtime.block_on(async {
        let mut signals = StopSignals::new().map_err(|source| CliError::Runtime { source })?;
        let command = async {
            match command {
                Command::Convert(arguments) => convert::run(arguments).await,
                Command::Inspect(arguments) => inspect::run(arguments).await,
                Command::Tune(arguments) => tune::run(arguments).await,
                Command::Crd => crd::print(),
            }
        };
        tokio::select! {
            result = command => result,
            // Whatever was on its way has no name yet: nothing is left half-made.
            () = signals.next() => Err(CliError::Stopped),
        }
    });
    // Threads that convert a layer end at their next read or write; nobody waits for them.
    runtime.shutdown_background();
    result
}

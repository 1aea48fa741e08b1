//! From the command line to a running server, and to the exit code.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::BoxError;
use crate::log_filter::{self, LogFilter};
use crate::signals::StopSignals;

/// What each server is started with.
#[derive(Debug, Args)]
pub struct ServerArguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    identity: Identity,
    /// What is logged, e.g. "info" or "`zstart_webhook=debug`".
    #[arg(long, env = "RUST_LOG", default_value = "info", value_parser = log_filter::parse)]
    log: LogFilter,
}

/// Which of all pods this is.
#[derive(Clone, Debug, Args)]
pub struct Identity {
    /// The namespace that zstart is installed in.
    #[arg(long, env = "POD_NAMESPACE")]
    pub namespace: String,
    /// The pod's name, as events give it.
    #[arg(long, env = "POD_NAME", default_value = "outside-a-pod")]
    pub pod: String,
}

/// Runs a server until a signal stops it: `serve` gets the configuration file, who it is, and
/// what tells it to stop. The first SIGTERM or SIGINT asks, the second one doesn't.
pub async fn run<F>(arguments: ServerArguments, serve: F) -> ExitCode
where
    F: AsyncFnOnce(&Path, Identity, CancellationToken) -> Result<(), BoxError>,
{
    let ServerArguments { config, identity, log } = arguments;
    // One crypto provider for the process; that another one is there already can't be.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let colours = std::io::stdout().is_terminal();
    tracing_subscriber::fmt().with_ansi(colours).with_env_filter(log.into_filter()).init();
    let shutdown = CancellationToken::new();
    let served = match watch_signals(shutdown.clone()) {
        Ok(watching) => {
            tokio::spawn(watching);
            serve(&config, identity, shutdown).await
        }
        Err(error) => Err(error.into()),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = zstart_core::chain(&*error), "failed");
            ExitCode::FAILURE
        }
    }
}

fn watch_signals(shutdown: CancellationToken) -> std::io::Result<impl Future<Output = ()>> {
    let mut signals = StopSignals::new()?;
    Ok(async move {
        signals.next().await;
        shutdown.cancel();
        signals.next().await;
        tracing::warn!("a second signal: ending at once");
        std::process::exit(1);
    })
}

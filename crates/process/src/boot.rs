//! Runs a server from its command line to its exit code.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::BoxError;
use crate::log_filter::{self, LogFilter};
use crate::signals::StopSignals;

/// Command-line arguments of a server.
#[derive(Debug, Args)]
pub struct ServerArguments {
    /// Configuration file in YAML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    identity: Identity,
    /// Log filter: a level or `target=level`, separated by commas, e.g. "info" or "`zstart_webhook=debug`".
    #[arg(long, env = "RUST_LOG", default_value = "info", value_parser = log_filter::parse)]
    log: LogFilter,
}

/// Identity of the pod that runs this process.
#[derive(Clone, Debug, Args)]
pub struct Identity {
    /// Namespace that zstart is installed in.
    #[arg(long, env = "POD_NAMESPACE")]
    pub namespace: String,
    /// Name of the pod, as reported in events.
    #[arg(long, env = "POD_NAME", default_value = "outside-a-pod")]
    pub pod: String,
}

/// Runs a server until a signal. `serve` gets the path of the configuration file, the pod's identity and the
/// shutdown token. The first SIGTERM or SIGINT cancels the token, the second one exits at once.
pub async fn run<F>(arguments: ServerArguments, serve: F) -> ExitCode
where
    F: AsyncFnOnce(&Path, Identity, CancellationToken) -> Result<(), BoxError>,
{
    let ServerArguments { config, identity, log } = arguments;
    // Fails only if the process has a crypto provider already. None is installed before this line.
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
            tracing::error!(error = zstart_core::chain(&*error), "the server failed");
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
        tracing::warn!("received a second signal, exiting at once");
        std::process::exit(1);
    })
}

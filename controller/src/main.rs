//! `zstart-controller`: boots, and hands over to the library.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use zstart_controller::config::Config;
use zstart_controller::run::run;

/// Converts the images that a cluster runs.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The namespace that zstart is installed in.
    #[arg(long, env = "POD_NAMESPACE")]
    namespace: String,
    /// What is logged, e.g. "info" or "`zstart_controller=debug`".
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    log: String,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // One crypto provider for the process; that another one is there already can't be.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let colours = std::io::stdout().is_terminal();
    tracing_subscriber::fmt().with_ansi(colours).with_env_filter(EnvFilter::new(&arguments.log)).init();
    match boot(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!(error = &*failure as &dyn std::error::Error, "failed");
            ExitCode::FAILURE
        }
    }
}

async fn boot(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { config, namespace, log: _ } = arguments;
    let config = Config::read(&config)?;
    let shutdown = CancellationToken::new();
    tokio::spawn(watch_signals(shutdown.clone())?);
    let client = kube::Client::try_default().await?;
    run(client, config, namespace, shutdown).await?;
    Ok(())
}

/// The first signal asks to stop, the second one doesn't ask.
fn watch_signals(shutdown: CancellationToken) -> std::io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        shutdown.cancel();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("a second signal: ending at once");
        std::process::exit(1);
    })
}

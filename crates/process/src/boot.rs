//! Runs a server from its command line to its exit code.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal as _;
use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::BoxError;
use crate::log_filter::{self, LogFilter};
use crate::log_format::LogFormat;
use crate::log_writer::{self, LogWriter};
use crate::signals::StopSignals;

/// Most time for which an exit waits until the output is read.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

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
    /// Form of the log lines. An argument, because a faulty configuration file is reported in this form too.
    #[arg(long, env = "ZSTART_LOG_FORMAT", value_name = "FORM", value_enum, default_value = "text")]
    log_format: LogFormat,
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
    let ServerArguments { config, identity, log, log_format } = arguments;
    run_task(log, log_format, async |shutdown| serve(&config, identity, shutdown).await).await
}

/// Runs a task until it ends, or until a signal. The first SIGTERM or SIGINT cancels the token, the second one exits
/// at once.
pub async fn run_task<F>(log: LogFilter, log_format: LogFormat, task: F) -> ExitCode
where
    F: AsyncFnOnce(CancellationToken) -> Result<(), BoxError>,
{
    // Fails only if the process has a crypto provider already. None is installed before this line.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Without an output there is nothing to report the error with.
    let Ok(output) = log_writer::standard_output() else { return ExitCode::FAILURE };
    let colours = std::io::stdout().is_terminal();
    let lines = output.clone();
    let subscriber = log_format.subscriber(log.into_filter(), move || lines.clone(), colours);
    // Fails only if the process has a subscriber already. None is installed before this line.
    let _ = tracing::subscriber::set_global_default(subscriber);
    std::panic::set_hook(Box::new(log_panic));
    let shutdown = CancellationToken::new();
    let served = match watch_signals(shutdown.clone(), output.clone()) {
        Ok(watching) => {
            tokio::spawn(watching);
            task(shutdown).await
        }
        Err(error) => Err(error.into()),
    };
    let code = match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = zstart_core::chain(&*error), "the program failed");
            ExitCode::FAILURE
        }
    };
    output.flush_within(FLUSH_LIMIT);
    code
}

/// Logs a panic. The standard hook writes to standard error, and a full pipe would block the thread.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    let location = panic.location().map(ToString::to_string);
    tracing::error!(location, panic = panic.payload_as_str(), backtrace, "a thread panicked");
}

fn watch_signals(
    shutdown: CancellationToken,
    output: LogWriter,
) -> std::io::Result<impl Future<Output = ()>> {
    let mut signals = StopSignals::new()?;
    Ok(async move {
        signals.next().await;
        shutdown.cancel();
        signals.next().await;
        tracing::warn!("received a second signal, exiting at once");
        output.flush_within(FLUSH_LIMIT);
        std::process::exit(1);
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::panic::{catch_unwind, set_hook, take_hook};
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing_subscriber::EnvFilter;
    use zstart_core::sync::lock;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            lock(&self.0).write(line)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn log(format: LogFormat, act: impl FnOnce()) -> String {
        let lines = Lines::default();
        let output = lines.clone();
        let subscriber = format.subscriber(EnvFilter::new("info"), move || output.clone(), false);
        tracing::subscriber::with_default(subscriber, act);
        String::from_utf8(lock(&lines.0).clone()).unwrap()
    }

    #[test]
    fn panic_is_one_json_object() {
        let text = log(LogFormat::Json, || {
            let standard = take_hook();
            set_hook(Box::new(log_panic));
            assert!(catch_unwind(|| panic!("line one\nline two")).is_err());
            set_hook(standard);
        });
        let line: Value = serde_json::from_str(&text).unwrap();
        let members =
            ["level", "message", "panic", "target"].map(|key| line[key].as_str().unwrap_or_default());
        assert_eq!(members, ["ERROR", "a thread panicked", "line one\nline two", "zstart_process::boot"]);
        assert!(line["location"].as_str().unwrap().contains("boot.rs"), "{line}");
    }

    #[test]
    fn text_has_the_same_fields() {
        let text = log(LogFormat::Text, || tracing::info!(waiting = 3, "registry doesn't answer"));
        assert!(text.contains("INFO") && text.contains("registry doesn't answer waiting=3"), "{text}");
    }
}

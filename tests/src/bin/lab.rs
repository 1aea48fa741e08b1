//! `lab`: the real components that zstart is tested with, by hand.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about = "Real Kubernetes, registry and container runtime, to test zstart with")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find or build every component.
    Tools,
    /// Start a single-node cluster, with a command or a shell in it; it ends with that.
    Up {
        /// What to run in it.
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Start an API server and a registry, with a command or a shell beside them. Needs no root.
    ControlPlane {
        /// What to run beside them.
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Build the large image of real packages and print its OCI layout folder.
    Image,
    /// Convert a real image and start a pod from it, on a real cluster: what `make run` does.
    Demo {
        /// Leave the cluster up, with a shell in it.
        #[arg(long)]
        keep: bool,
        /// Folder with the programs zstart-controller and zstart-webhook.
        #[arg(long, value_name = "FOLDER")]
        binaries: Option<std::path::PathBuf>,
    },
}

#[expect(clippy::print_stderr, reason = "this is a command line")]
fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Tools => zstart_tests::demo::commands::tools(),
        Command::Up { command } => zstart_tests::demo::commands::up(command),
        Command::ControlPlane { command } => zstart_tests::demo::commands::control_plane(&command),
        Command::Image => zstart_tests::demo::commands::image(),
        Command::Demo { keep, binaries } => zstart_tests::demo::run(keep, binaries),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The chain of causes, without a backtrace.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

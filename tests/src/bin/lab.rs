//! `lab`: starts the real components of the tests, for use by hand.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about = "Starts the real Kubernetes, registry and container runtime of zstart's tests")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find or build every component.
    Tools,
    /// Start a single-node cluster and run a command or a shell in it; the cluster ends with that process.
    Up {
        /// Command to run in the cluster (default: a shell).
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Start an API server and a registry, and run a command or a shell with their addresses in the
    /// environment. Needs no root.
    ControlPlane {
        /// Command to run (default: a shell).
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Keep an API server for the tests of one run, which start this themselves.
    #[command(hide = true)]
    KeepControlPlane {
        /// Folder of the API server, removed at the end.
        folder: std::path::PathBuf,
        /// Process of the run, with which the API server ends.
        runner: u32,
    },
    /// Write the files that are made from others: the chart's table of values, its renders, and deploy/manifests.
    Generate {
        /// Compare the files instead.
        #[arg(long)]
        check: bool,
    },
    /// Build the large image from real packages and print its OCI layout folder.
    Image,
    /// Convert real images and compare the package lists that scanners make of sources and variants; this is
    /// what `make scanners` does.
    Scanners,
    /// Restart, upgrade and drain the webhook on a real cluster while pods are created, and require that every pod
    /// is rewritten; this is what `make soak` does.
    Soak(zstart_tests::soak::Options),
    /// Measure the controller's memory and processor time in a large cluster; this is what `make inventory` does.
    Inventory {
        /// The program zstart-controller.
        #[arg(long, value_name = "FILE")]
        controller: std::path::PathBuf,
        #[command(flatten)]
        size: zstart_tests::inventory::Size,
    },
    /// Pull an image as gzip and as zstd of several levels with the kubelet; this is what `make bench-pull` does.
    Pulls(zstart_tests::bench_pull::Options),
    /// Start pods of an image in several ways; this is what `make bench-start` does.
    Starts(zstart_tests::bench_start::Options),
    /// Count the requests about images that can't be converted; this is what `make restraint` does.
    Restraint(zstart_tests::restraint::Options),
    /// Convert a real image and start a pod from it, on a real cluster; this is what `make run` does.
    Demo {
        /// Keep the cluster running, with a shell in it.
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
        Command::KeepControlPlane { folder, runner } => {
            zstart_tests::demo::commands::keep_control_plane(&folder, runner)
        }
        Command::Generate { check } => zstart_tests::demo::commands::generate(check),
        Command::Image => zstart_tests::demo::commands::image(),
        Command::Scanners => zstart_tests::demo::commands::scanners(),
        Command::Soak(options) => zstart_tests::demo::commands::soak(options),
        Command::Inventory { controller, size } => zstart_tests::demo::commands::inventory(&controller, size),
        Command::Pulls(options) => zstart_tests::demo::commands::pulls(&options),
        Command::Starts(options) => zstart_tests::demo::commands::starts(&options),
        Command::Restraint(options) => zstart_tests::demo::commands::restraint(options),
        Command::Demo { keep, binaries } => zstart_tests::demo::run(keep, binaries),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Prints the chain of causes, without a backtrace.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! `bench`: compares zstart with other tools that convert images.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

#[derive(Debug, Parser)]
#[command(about = "Compares zstart with other tools that convert images, on real images")]
struct Arguments {
    /// Path of the `zstart` program.
    #[arg(long, value_name = "FILE", required_unless_present = "node")]
    zstart: Option<PathBuf>,
    /// Measure only the speed of nodes' decoders.
    #[arg(long)]
    node: bool,
}

#[tokio::main]
#[expect(clippy::print_stderr, reason = "this is a command line")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = match arguments.zstart {
        Some(zstart) if !arguments.node => zstart_tests::bench::run(zstart).await,
        _ => zstart_tests::bench::decoders().await,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

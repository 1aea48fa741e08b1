//! `bench`: compares zstart with other tools that convert images.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

#[derive(Debug, Parser)]
#[command(about = "Compares zstart with other tools that convert images, on real images")]
struct Arguments {
    /// Path of the `zstart` program.
    #[arg(long, value_name = "FILE")]
    zstart: PathBuf,
}

#[tokio::main]
#[expect(clippy::print_stderr, reason = "this is a command line")]
async fn main() -> ExitCode {
    match zstart_tests::bench::run(Arguments::parse().zstart).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

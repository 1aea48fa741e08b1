//! `review-load`: sends admission reviews at a fixed rate and prints the latencies as JSON.
//!
//! After the warm-up it prints `ready` and waits for a line on its standard input, so that the caller reads the
//! server's counters right before the measurement.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use zstart_tests::control_plane::install_crypto;
use zstart_tests::review_load::{LoadOptions, run};

#[derive(Debug, Parser)]
#[command(about = "Sends admission reviews to a loopback server at a fixed rate and prints the latencies")]
struct Arguments {
    #[command(flatten)]
    options: LoadOptions,
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command line")]
fn main() -> ExitCode {
    install_crypto();
    let wait_for_start = || -> Result<()> {
        println!("ready");
        let read = std::io::stdin().read_line(&mut String::new())?;
        ensure!(read > 0, "the caller closed the standard input before the measurement");
        Ok(())
    };
    let measured = run(&Arguments::parse().options, wait_for_start);
    match measured.and_then(|report| Ok(serde_json::to_string(&report)?)) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

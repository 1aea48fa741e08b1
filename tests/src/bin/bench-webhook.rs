//! `bench-webhook`: measures the webhook and a peer at a fixed rate of reviews.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use zstart_tests::bench_webhook::{Plan, Programs, Size, run, tables};

#[derive(Debug, Parser)]
#[command(about = "Measures the webhook's latency, processor time and memory at a fixed rate of reviews")]
struct Arguments {
    /// Path of the `zstart-webhook` program.
    #[arg(long, value_name = "FILE")]
    webhook: PathBuf,
    /// Take a few small measurements that show whether everything works, in half a minute.
    #[arg(long)]
    short: bool,
    /// Measure in a cluster of this many records and nodes, instead of all sizes. Can be given several times, in
    /// growing sizes.
    #[arg(long, value_name = "RECORDS:NODES", conflicts_with = "short")]
    size: Vec<Size>,
}

#[tokio::main]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command line")]
async fn main() -> ExitCode {
    match measure(Arguments::parse()).await {
        Ok(tables) => {
            println!("{tables}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(Arguments { webhook, short, size }: Arguments) -> Result<String> {
    // The programs run in a folder of their own.
    let webhook = std::path::absolute(webhook)?;
    let program = std::env::current_exe()?;
    let generator = program.parent().context("the program has no folder")?.join("review-load");
    let mut plan = if short { Plan::short() } else { Plan::full() };
    if !size.is_empty() {
        plan.sizes = size;
    }
    Ok(tables(&run(&Programs { webhook, generator }, &plan).await?))
}

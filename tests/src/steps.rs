//! Prints each step and its duration.
#![expect(clippy::print_stdout, reason = "this is the output of the command")]

use std::time::Instant;

use anyhow::{Context as _, Result};
use zstart_core::units;

/// Runs a step.
pub(crate) async fn step<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    println!("==> {what}");
    let started = Instant::now();
    let done = work.await.with_context(|| format!("failed at the step: {what}"))?;
    println!("    {}", units::duration(started.elapsed()));
    Ok(done)
}

/// Prints indented lines below a step.
pub(crate) fn print_below(text: &str) {
    for line in text.trim_end().lines() {
        println!("    {line}");
    }
}

/// Prints a block of text between blank lines.
pub(crate) fn print_block(text: &str) {
    println!("\n{}\n", text.trim_end());
}

//! Output of zstart's commands after the demo: its state, the reason for the pod's image, and the checks.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anstream::adapter::strip_str;
use anyhow::{Context as _, Result, ensure};

use super::application::NAMESPACE;
use crate::cluster::Cluster;
use crate::steps::print_block;
use crate::wait;

/// Runs the commands about the cluster and its pod, prints them and their output, and writes both to `file`, with the
/// styles of a terminal.
pub(super) async fn show(cluster: &Cluster, binaries: &Path, pod: &str, file: &Path) -> Result<()> {
    let program = binaries.join("zstart");
    let zstart = |arguments: &[&str]| {
        let mut zstart = cluster.command(&program.display().to_string());
        // The files keep the styles; anstream reads this variable.
        zstart.args(arguments).env("CLICOLOR_FORCE", "1").env_remove("NO_COLOR");
        zstart
    };
    // The queue is there only if the API server passes on the leader's metrics.
    let status = wait::until("zstart status to show the queue", super::scenario::STARTED_WITHIN, || async {
        let status = output(zstart(&["status"]))?;
        let plain = strip_str(&status).to_string();
        let is_whole = plain.contains("\nrecords      1: 1 ready\n") && plain.contains("\nqueue        ");
        ensure!(is_whole, "{status}");
        Ok(Some(status))
    })
    .await?;
    let explain = ["explain", "pod", pod, "--namespace", NAMESPACE];
    let mut shown = format!("$ zstart status\n{status}\n");
    for arguments in [&explain[..], &["check"]] {
        writeln!(shown, "$ zstart {}\n{}", arguments.join(" "), output(zstart(arguments))?)?;
    }
    print_block(&strip_str(&shown).to_string());
    std::fs::write(file, shown).with_context(|| format!("failed to write {}", file.display()))
}

fn output(mut command: Command) -> Result<String> {
    let output = command.output().context("failed to start zstart")?;
    let said = String::from_utf8([output.stdout, output.stderr].concat())?;
    ensure!(output.status.success(), "{command:?} failed: {}: {said}", output.status);
    Ok(said)
}

//! Output of zstart's commands after the demo: its state, the savings, the reason for the pod's image, and the checks.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anstream::adapter::strip_str;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::application::NAMESPACE;
use crate::cluster::Cluster;
use crate::steps::print_block;
use crate::wait;

/// Runs the commands about the cluster and its pod, and prints them and their output. Writes both to `commands.txt` in the
/// folder `results`, with the styles of a terminal, and the report as HTML to `report.html`.
pub(super) async fn show(cluster: &Cluster, binaries: &Path, pod: &str, results: &Path) -> Result<()> {
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
    // The controller writes a pull to the record ten seconds later.
    wait::until("zstart report to compare the pulls", super::scenario::STARTED_WITHIN, || async {
        let report: Value = serde_json::from_str(&output(zstart(&["report", "--output", "json"]))?)?;
        let image = &report["images"][0];
        Ok((image["sourcePulls"].is_object() && image["variantPulls"].is_object()).then_some(()))
    })
    .await?;
    let explain = ["explain", "pod", pod, "--namespace", NAMESPACE];
    let mut shown = format!("$ zstart status\n{status}\n");
    for arguments in [&["report"], &explain[..], &["check"]] {
        writeln!(shown, "$ zstart {}\n{}", arguments.join(" "), output(zstart(arguments))?)?;
    }
    print_block(&strip_str(&shown).to_string());
    let html = output(zstart(&["report", "--output", "html"]))?;
    for (name, content) in [("commands.txt", shown), ("report.html", html)] {
        let file = results.join(name);
        std::fs::write(&file, content).with_context(|| format!("failed to write {}", file.display()))?;
    }
    Ok(())
}

fn output(mut command: Command) -> Result<String> {
    let output = command.output().context("failed to start zstart")?;
    let said = String::from_utf8([output.stdout, output.stderr].concat())?;
    ensure!(output.status.success(), "{command:?} failed: {}: {said}", output.status);
    Ok(said)
}

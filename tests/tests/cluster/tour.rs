//! The commands of docs/tour.md in a cluster of two nodes, with the outputs that the page shows.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use zstart_tests::cluster::{self, Cluster, built_binaries};
use zstart_tests::transcript::{Part, is_shown, parts};
use zstart_tests::{chart, demo, wait};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tour.md");
/// Longest time until a command shows what the page says, e.g. that an image is converted.
const WITHIN: Duration = Duration::from_mins(5);
/// Starts of commands that change nothing.
const READING: [&str; 5] =
    ["kubectl get ", "zstart check", "zstart explain ", "zstart report", "zstart status"];

#[test]
fn tour_shows_what_its_page_says() {
    let image = demo::small_image().expect("the image exists or is built");
    cluster::run("tour::tour_shows_what_its_page_says", |mut cluster| async move {
        cluster.join_node().await?;
        cluster.push_zstart_images(&built_binaries()?)?;
        demo::push_application(&image).await?;
        // The page's commands name the chart as in a checkout.
        std::os::unix::fs::symlink(
            chart::chart().parent().context("no folder")?,
            cluster.folder().join("charts"),
        )?;
        for part in parts(&std::fs::read_to_string(PAGE)?)? {
            match part {
                Part::File { name, content } => std::fs::write(cluster.folder().join(name), content)?,
                Part::Command { command, output } => follow(&cluster, &command, &output).await?,
            }
        }
        Ok(())
    });
}

/// Runs a command. One that only reads is repeated until its output is the shown one.
#[expect(clippy::print_stdout, reason = "the course of the tour is a result of the test")]
async fn follow(cluster: &Cluster, command: &str, shown: &[String]) -> Result<()> {
    println!("$ {command}");
    if shown.is_empty() {
        let (succeeds, said) = bash(cluster, command)?;
        println!("{said}");
        ensure!(succeeds, "{command} failed: {said}\n{}", cluster.pod_diagnostics(cluster::NAMESPACE));
        return Ok(());
    }
    let is_reading = READING.iter().any(|reading| command.starts_with(reading));
    let within = if is_reading { WITHIN } else { Duration::ZERO };
    let said = wait::until(format!("{command} to show what the page says"), within, || async {
        // Some commands of the page fail, e.g. `zstart check` after something was broken.
        let (_, said) = bash(cluster, command)?;
        ensure!(is_shown(shown, &said), "it shows:\n{said}\ninstead of:\n{}", shown.join("\n"));
        Ok(Some(said))
    })
    .await?;
    println!("{said}");
    Ok(())
}

/// Runs a command as in a shell of the cluster. Returns whether it succeeded, and its output.
fn bash(cluster: &Cluster, command: &str) -> Result<(bool, String)> {
    let mut bash = cluster.command("bash");
    bash.args(["-o", "pipefail", "-c", command]).current_dir(cluster.folder());
    let output = bash.output().context("failed to start bash")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.success(), text(&output.stdout) + &text(&output.stderr)))
}

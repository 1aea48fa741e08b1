//! What `make run` shows: a real image is converted and a pod starts from it, with nothing simulated.

pub mod commands;
pub mod scenario;

mod application;
mod layer_check;
mod pull_times;
mod rootless;
mod steps;
mod table;

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::cluster;
use crate::images::real;
use crate::settings;
use crate::tools;

/// How often `make run` has each image pulled.
const PULLS: usize = 3;

/// Converts a real image and starts a pod from it, on a cluster of its own. Without root it goes as
/// far as one can without, and says what it left out.
///
/// `binaries` holds the programs zstart-controller and zstart-webhook; without it they are looked for
/// beside this one.
pub fn run(keep: bool, binaries: Option<PathBuf>) -> Result<()> {
    let binaries = match binaries {
        // Programs are started in folders of their own.
        Some(folder) => folder.canonicalize().with_context(|| format!("no folder {}", folder.display()))?,
        None => cluster::built_binaries()?,
    };
    if cluster::is_inside() {
        let layout = image()?;
        return cluster::run_program(&[], |cluster| async move {
            scenario::run(&cluster, &binaries, &layout, PULLS).await?;
            if keep { commands::shell(&cluster, &[]) } else { Ok(()) }
        });
    }
    let runtime = commands::runtime()?;
    let layout = runtime.block_on(async {
        steps::step("finding the real components, or building them (the first time)", tools::all()).await?;
        steps::step(
            "finding the real image, or building it (the first time)",
            real::layout(real::RealImage::Python),
        )
        .await
    })?;
    if !settings::is_root() {
        return runtime.block_on(rootless::run(&binaries, &layout));
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // The body runs in the process that this starts; it takes the way above.
    cluster::run_program(&arguments, |_| async { Ok(()) })
}

/// The layout folder of its image, built if it isn't there yet: before a cluster is entered, from where there
/// is no way to where packages come from.
pub fn image() -> Result<PathBuf> {
    commands::runtime()?.block_on(real::layout(real::RealImage::Python))
}

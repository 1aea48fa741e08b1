//! `make run`: converts a real image and starts a pod from it, with nothing simulated.

pub mod commands;
pub mod scenario;

mod answers;
pub(crate) mod application;
mod layer_check;
pub mod monitoring;
mod rootless;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::cluster::{self, Storage};
use crate::images::real;
use crate::settings;
use crate::steps::step;
use crate::tools;

/// Pulls of each image in `make run`.
const PULLS: usize = 3;

/// Converts a real image and starts a pod from it, on a cluster of its own. Without root, the demo runs the
/// steps that need none and prints the steps left out.
///
/// `binaries` contains the programs zstart-controller and zstart-webhook; default: the folder of the running
/// program.
pub fn run(keep: bool, binaries: Option<PathBuf>) -> Result<()> {
    let binaries = match binaries {
        // Programs start in other working folders, so the path must be absolute.
        Some(folder) => folder
            .canonicalize()
            .with_context(|| format!("failed to find the folder {}", folder.display()))?,
        None => cluster::built_binaries()?,
    };
    if cluster::is_inside() {
        let layout = image()?;
        return cluster::run_program(Storage::Disk, &[], |mut cluster| async move {
            if !keep {
                return scenario::run(&mut cluster, &binaries, &layout, PULLS, &results_folder()?).await;
            }
            let prometheus = step("starting Prometheus", monitoring::start(&cluster)).await?;
            scenario::run(&mut cluster, &binaries, &layout, PULLS, &results_folder()?).await?;
            monitoring::describe(&prometheus);
            commands::shell(&cluster, &[])
        });
    }
    let runtime = commands::runtime()?;
    let layout = runtime.block_on(async {
        let layout = real::layout(real::RealImage::Python).await?;
        let tools = tools::for_cluster();
        step("finding the real components (the first run builds them, in 5 to 9 minutes)", tools).await?;
        if keep && settings::is_root() {
            step("finding Prometheus (the first run builds it)", tools::monitoring()).await?;
        }
        anyhow::Ok(layout)
    })?;
    if !settings::is_root() {
        return runtime.block_on(rootless::run(&binaries, &layout));
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // The body runs in the new process, which takes the branch above.
    cluster::run_program(Storage::with_free_memory()?, &arguments, |_| async { Ok(()) })
}

/// Folder of the files that the demo writes.
fn results_folder() -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/run");
    std::fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
    Ok(folder.canonicalize()?)
}

/// Layout folder of the demo's image, built on the first call. Call it before entering a cluster: packages
/// can't be downloaded inside the namespaces.
pub fn image() -> Result<PathBuf> {
    commands::runtime()?.block_on(real::layout(real::RealImage::Python))
}

/// Pushes an image from its layout folder to the cluster's registry, as the demo's application.
pub async fn push_application(layout: &Path) -> Result<()> {
    application::push_image(layout, cluster::LOCAL_REGISTRY).await.map(drop)
}

/// Like [`image`], for a test: a smaller image of the same kind, which unoptimised programs convert in seconds.
pub fn small_image() -> Result<PathBuf> {
    commands::runtime()?.block_on(real::layout(real::RealImage::Interpreter))
}

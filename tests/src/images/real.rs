//! Real images, built once into the cache with the usual tools for such layers (debootstrap, pip, npm,
//! Maven, tar) and compressed with gzip at its default level.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use zstart_core::units;

use self::compress::{CompressedLayer, write_manifest};
use crate::cluster;
use crate::settings;

mod compress;
mod debian;
mod java;
mod node;
mod python;

/// Version of the content. Increase it with each change, so that a cached older image isn't used.
const VERSION: &str = "2";
/// Tag of the image in its layout folder.
pub const TAG: &str = "v1";

/// A real image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RealImage {
    /// Debian's Python, scientific packages, and a program that uses them: four layers.
    Python,
    /// Debian's Python and a program: two layers, a fifth of [`Python`](Self::Python). Building it needs root.
    Interpreter,
    /// A Debian tree with compilers: one layer. Building it needs root.
    Debian,
    /// A large `node_modules`: one layer.
    Node,
    /// A Java application's libraries, as jars: one layer.
    Java,
    /// Python packages as wheels, which are compressed files: one layer.
    Wheels,
}

impl RealImage {
    /// Those of `images` that this user can build: debootstrap needs root.
    pub(crate) fn buildable(images: &[Self]) -> Vec<Self> {
        images.iter().copied().filter(|image| *image != Self::Debian || settings::is_root()).collect()
    }

    /// The large images of `make bench` that this user can build.
    pub fn all() -> Vec<Self> {
        Self::buildable(&[Self::Python, Self::Debian, Self::Node])
    }

    /// Name for messages and for the cache.
    pub fn name(self) -> &'static str {
        match self {
            // The image without the Debian tree is a different one.
            Self::Python if !settings::is_root() => "python-packages-only",
            Self::Python => "python",
            Self::Interpreter => "interpreter",
            Self::Debian => "debian",
            Self::Node => "node",
            Self::Java => "java",
            Self::Wheels => "wheels",
        }
    }

    fn layers(self, work: &Path, layout: &Path) -> Result<Vec<CompressedLayer>> {
        match self {
            Self::Python => python::layers(work, layout, settings::is_root()),
            Self::Interpreter => python::interpreter_layers(work, layout),
            Self::Debian => debian::layers(work, layout),
            Self::Node => node::layers(work, layout),
            Self::Java => java::layers(work, layout),
            Self::Wheels => python::wheel_layers(work, layout),
        }
    }

    fn command(self) -> &'static [&'static str] {
        match self {
            Self::Python | Self::Interpreter => &python::COMMAND,
            Self::Debian | Self::Wheels => &["bash"],
            Self::Node => &["node"],
            Self::Java => &["java"],
        }
    }
}

/// Layout folder of the image, built on the first call.
#[expect(clippy::print_stderr, reason = "the first build takes minutes")]
pub async fn layout(image: RealImage) -> Result<PathBuf> {
    let name = image.name();
    let folder = settings::cache_folder()?.join("images").join(format!("{name}-{VERSION}"));
    if folder.is_dir() {
        return Ok(folder);
    }
    ensure!(
        !cluster::is_inside(),
        "failed to build the image \"{name}\": packages can't be downloaded inside the cluster's namespaces; run \
         `lab image` before entering them"
    );
    let parent = folder.parent().context("the cache has a parent folder")?.to_owned();
    fs::create_dir_all(&parent)?;
    eprintln!("==> building the image \"{name}\" from real packages (once; 2 to 3 minutes on 2 cores)");
    let started = Instant::now();
    let work = tempfile::Builder::new().prefix(".image-").tempdir_in(&parent)?;
    let (building, layout) = (work.path().to_owned(), work.path().join("layout"));
    fs::create_dir_all(layout.join("blobs/sha256"))?;
    let into = layout.clone();
    let layers = tokio::task::spawn_blocking(move || image.layers(&building, &into)).await??;
    write_manifest(&layout, image.command(), &layers).await?;
    fs::rename(&layout, &folder)?;
    eprintln!("    image built in {}", units::duration(started.elapsed()));
    Ok(folder)
}

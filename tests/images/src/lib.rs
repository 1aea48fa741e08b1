//! Real images, built once into the cache with the usual tools for such layers (mmdebstrap, pip, npm, Maven, tar) and
//! compressed with gzip at its default level.
//!
//! - [`RealImage`]: the images.
//! - [`packages`]: Debian packages that the tests need.
//! - [`settings`]: environment variables of the tests.
//! - [`command`]: runs a program.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};

use self::compress::{CompressedLayer, write_image};

mod compress;
mod debian;
mod java;
mod node;
mod python;

pub mod command;
pub mod packages;
pub mod settings;

/// Version of the content. Increase it with each change, so that a cached older image isn't used.
const VERSION: &str = "3";
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
    /// Those of `images` that this user can build: a Debian tree needs root.
    pub fn buildable(images: &[Self]) -> Vec<Self> {
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

    /// Layout folder of the image in the cache. It exists once the image was built.
    pub fn folder(self) -> Result<PathBuf> {
        Ok(settings::cache_folder()?.join("images").join(format!("{}-{VERSION}", self.name())))
    }

    /// Layout folder of the image, built on the first call. If several processes need it at once, one builds and the
    /// others wait.
    #[expect(clippy::print_stderr, reason = "the first build takes minutes")]
    pub fn layout(self) -> Result<PathBuf> {
        let (name, folder) = (self.name(), self.folder()?);
        if folder.is_dir() {
            return Ok(folder);
        }
        let parent = folder.parent().context("the cache has a parent folder")?.to_owned();
        fs::create_dir_all(&parent).with_context(|| format!("failed to create {}", parent.display()))?;
        let lock = File::create(parent.join(format!("{name}.lock")))?;
        lock.lock().context("failed to lock the cache of images")?;
        if folder.is_dir() {
            return Ok(folder);
        }
        eprintln!("==> building the image \"{name}\" from real packages (once; 2 to 3 minutes on 2 cores)");
        let started = Instant::now();
        let work = tempfile::Builder::new().prefix(".image-").tempdir_in(&parent)?;
        let layout = work.path().join("layout");
        fs::create_dir_all(layout.join("blobs/sha256"))?;
        let layers = self.layers(work.path(), &layout)?;
        write_image(&layout, self.command(), &layers)?;
        fs::rename(&layout, &folder)?;
        eprintln!("    image built in {} s", started.elapsed().as_secs());
        Ok(folder)
    }
}

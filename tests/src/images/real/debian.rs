//! A Debian tree.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::compress::{CompressedLayer, compress};
use crate::packages;
use crate::process::run;

/// Debian 12: its Python is 3.11, for which the wheels are chosen.
const SUITE: &str = "bookworm";
/// What images that things are built in have beside the least.
const TOOLS: [&str; 4] = ["build-essential", "git", "cmake", "python3"];

/// One layer, as base images of compilers are.
pub(super) fn layers(work: &Path, layout: &Path) -> Result<Vec<CompressedLayer>> {
    Ok(vec![layer(work, layout, &TOOLS)?])
}

/// The least tree with these packages. Needs root.
pub(super) fn layer(work: &Path, layout: &Path, packages: &[&str]) -> Result<CompressedLayer> {
    packages::require(&packages::IMAGE)?;
    let tree = work.join("tree");
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", &format!("--include={}", packages.join(",")), SUITE]).arg(&tree);
    run(&mut debootstrap).context("failed to make a Debian tree")?;
    compress(&tree, layout)
}

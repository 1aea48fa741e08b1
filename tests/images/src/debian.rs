//! A Debian tree.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command::run;
use crate::compress::{CompressedLayer, compress};
use crate::packages;

/// Debian 12: the wheels are chosen for its Python 3.11.
const SUITE: &str = "bookworm";
/// Keys of Debian's archive, which apt on other systems doesn't trust.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Packages of a typical build image, in addition to the minimal tree.
const TOOLS: [&str; 4] = ["build-essential", "git", "cmake", "python3"];

/// One layer, as in base images of compilers.
pub(super) fn layers(work: &Path, layout: &Path) -> Result<Vec<CompressedLayer>> {
    Ok(vec![layer(work, layout, &TOOLS)?])
}

/// Minimal tree with these packages. Needs root.
pub(super) fn layer(work: &Path, layout: &Path, packages: &[&str]) -> Result<CompressedLayer> {
    packages::require(&packages::IMAGE)?;
    let tree = work.join("tree");
    // debootstrap takes more than twice the processor time.
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap.args(["--variant=minbase", &format!("--keyring={KEYRING}")]);
    mmdebstrap.args([&format!("--include={}", packages.join(",")), SUITE]).arg(&tree);
    run(&mut mmdebstrap).context("failed to create a Debian tree")?;
    compress(&tree, layout)
}

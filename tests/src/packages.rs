//! Debian packages that can't come from a Go module.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process::run;
use crate::settings;

/// Packages of a whole cluster, in addition to the built binaries.
pub(crate) const CLUSTER: [&str; 5] = ["iproute2", "nftables", "conntrack", "buildah", "busybox-static"];
/// Packages for building the real image.
pub(crate) const IMAGE: [&str; 1] = ["debootstrap"];

/// Installs missing packages where that is possible, and prints their names.
#[expect(clippy::print_stderr, reason = "the user must see an installation")]
pub(crate) fn require(packages: &[&str]) -> Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !settings::is_root() || !Path::new("/usr/bin/apt-get").exists() {
        bail!("Debian packages are missing: {names}; install them and try again");
    }
    eprintln!("==> installing {names}");
    let apt = |arguments: &[&str]| {
        run(Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(arguments))
    };
    apt(&["update", "-qq"]).context("failed to update the package lists")?;
    let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
    install.extend(&missing);
    apt(&install).with_context(|| format!("failed to install {names}"))?;
    Ok(())
}

fn is_installed(package: &str) -> bool {
    let asked = run(Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", package]));
    asked.is_ok_and(|status| status == "installed")
}

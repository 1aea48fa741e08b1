//! Debian packages that can't come from a Go module.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::run;
use crate::settings;

/// Packages of a whole cluster, in addition to the built binaries.
pub const CLUSTER: [&str; 6] = ["iproute2", "nftables", "conntrack", "buildah", "busybox-static", "openssl"];
/// Packages for building the real image. (Ubuntu has no keyring of Debian by default.)
pub const IMAGE: [&str; 2] = ["mmdebstrap", "debian-archive-keyring"];

/// Installs missing packages where that is possible, and prints their names.
#[expect(clippy::print_stderr, reason = "the user must see an installation")]
pub fn require(packages: &[&str]) -> Result<()> {
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

/// Path of a program in a Debian package that isn't installed: an installation would start its service.
pub fn unpacked(package: &str, program: &str) -> Result<PathBuf> {
    let installed = Path::new("/").join(program);
    if installed.is_file() {
        return Ok(installed);
    }
    let packages = settings::cache_folder()?.join("packages");
    fs::create_dir_all(&packages).with_context(|| format!("failed to create {}", packages.display()))?;
    let lock = File::create(packages.join(format!("{package}.lock")))?;
    lock.lock().context("failed to lock the cache of packages")?;
    let folder = packages.join(package);
    if !folder.is_dir() {
        let partial = tempfile::Builder::new().prefix(&format!(".{package}-")).tempdir_in(&packages)?;
        let download =
            || run(Command::new("apt-get").current_dir(partial.path()).args(["download", "-qq", package]));
        if download().is_err() {
            // A fresh container has no package lists.
            run(Command::new("apt-get").args(["update", "-qq"]))
                .context("failed to update the package lists")?;
            download().with_context(|| format!("failed to download the Debian package {package}"))?;
        }
        let archive = fs::read_dir(partial.path())?.next().context("apt-get downloaded nothing")??.path();
        let content = partial.path().join("content");
        run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&content))
            .with_context(|| format!("failed to unpack {}", archive.display()))?;
        fs::rename(content, &folder)?;
    }
    let path = folder.join(program);
    ensure!(path.is_file(), "the Debian package {package} has no {program}");
    Ok(path)
}

fn is_installed(package: &str) -> bool {
    let asked = run(Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", package]));
    asked.is_ok_and(|status| status == "installed")
}

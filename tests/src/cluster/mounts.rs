//! Mounts of the cluster's namespace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process::run;

/// Mounts of this process, in the order of their creation.
const MOUNTS: &str = "/proc/self/mounts";

/// A mount.
pub(super) struct Mount {
    pub(super) point: PathBuf,
    /// Type of the file system.
    pub(super) kind: String,
}

/// Lists the mounts of this process, in the order of their creation.
pub(super) fn all() -> Result<Vec<Mount>> {
    let text = fs::read_to_string(MOUNTS).with_context(|| format!("failed to read {MOUNTS}"))?;
    let mount = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        Some(Mount { point: fields.next()?.into(), kind: fields.next()?.to_owned() })
    };
    Ok(text.lines().filter_map(mount).collect())
}

/// Unmounts everything below a folder, the last mount first.
pub(super) fn unmount_below(folder: &Path) -> Result<()> {
    for mount in all()?.iter().rev().filter(|mount| mount.point.starts_with(folder)) {
        run(Command::new("umount").arg("--lazy").arg(&mount.point))?;
    }
    Ok(())
}

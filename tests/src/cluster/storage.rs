//! Place of the images of a cluster's nodes.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::memory;
use crate::process::run;

/// Free memory from which a cluster keeps its images there: twice what `make run` needs.
const ENOUGH_MEMORY: u64 = 8 << 30;

/// Place of a node's images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// The folder of temporary files. A disk that writes back makes single pulls differ by a factor of two.
    Disk,
    /// tmpfs.
    Memory,
}

impl Storage {
    /// Environment variable that passes the place to the process in the namespaces.
    pub(super) const VARIABLE: &str = "ZSTART_LAB_STORAGE";

    /// Memory if enough of it is free.
    pub fn with_free_memory() -> Result<Self> {
        Ok(if memory::free()? >= ENOUGH_MEMORY { Self::Memory } else { Self::Disk })
    }

    /// The place that the process outside the namespaces chose.
    pub(super) fn inherited() -> Self {
        let chosen = std::env::var_os(Self::VARIABLE);
        if chosen.as_deref() == Some(OsStr::new(Self::Memory.value())) { Self::Memory } else { Self::Disk }
    }

    /// Value of the environment variable.
    pub(super) fn value(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Memory => "memory",
        }
    }

    /// Prepares the folder of a containerd. The kernel removes the mount with the mount namespace.
    pub(super) fn prepare(self, folder: &Path) -> Result<()> {
        if self == Self::Disk {
            return Ok(());
        }
        fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
        run(Command::new("mount").args(["-t", "tmpfs", "zstart"]).arg(folder))
            .with_context(|| format!("failed to mount a tmpfs at {}", folder.display()))?;
        Ok(())
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Disk => "its images are on the disk, whose speed varies",
            Self::Memory => "its images are in memory, because the speed of a disk varies",
        })
    }
}

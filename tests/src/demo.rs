//! What `make run` shows, and the lab by hand.

pub mod hand;

use std::path::PathBuf;

use anyhow::Result;

/// Converts a real image and starts a pod from it.
pub fn run(_keep: bool, _binaries: Option<PathBuf>) -> Result<()> {
    anyhow::bail!("not yet")
}

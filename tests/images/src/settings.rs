//! The environment variables that the lab reads.

use std::env;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// Folder with binaries that take precedence over all others.
const BINARIES: &str = "ZSTART_LAB_BIN";
/// Folder with kube-apiserver, etcd and kubectl, by the convention of Kubernetes' own test tools.
const KUBEBUILDER_BINARIES: &str = "KUBEBUILDER_ASSETS";

/// Seed of tests with random input.
const SEED: &str = "ZSTART_SEED";

/// Folders with existing binaries, in order of preference.
pub fn binary_folders() -> Vec<PathBuf> {
    [BINARIES, KUBEBUILDER_BINARIES].into_iter().filter_map(env::var_os).map(PathBuf::from).collect()
}

/// Folder of built binaries and images: `$XDG_CACHE_HOME/zstart`, or `~/.cache/zstart`.
pub fn cache_folder() -> Result<PathBuf> {
    let cache = match env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => env::home_dir().context("failed to find the home folder; set XDG_CACHE_HOME")?.join(".cache"),
    };
    Ok(cache.join("zstart"))
}

/// Seed given by the user, to repeat a test with random input.
pub fn seed() -> Result<Option<u64>> {
    let Some(text) = env::var_os(SEED) else { return Ok(None) };
    let seed = text.to_str().and_then(|text| text.parse().ok());
    seed.with_context(|| format!("{SEED} is {}; write a whole number", text.display())).map(Some)
}

/// Whether the user accepts that tests that need root are left out.
pub fn rootless_is_accepted() -> bool {
    env::var_os("ROOTLESS").is_some_and(|value| value == "1")
}

/// Whether this process may create namespaces.
pub fn is_root() -> bool {
    // The owner of a process's own folder in /proc is its effective user.
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|folder| folder.uid() == 0)
}

//! What earlier runs converted: a small file, so that a base layer is converted once and not for each
//! image that stands on it.

use std::path::PathBuf;

use zstart_convert::{LayerMemory, MemoryFileError};
use zstart_core::chain;

use crate::args::LayerCacheArguments;

/// The memory of this run, and where it is kept.
pub(crate) struct LayerCacheFile {
    pub(crate) entries: LayerMemory,
    file: Option<PathBuf>,
    /// Somebody named it; else nobody is told where it can't be had, e.g. in a container.
    is_chosen: bool,
}

impl LayerCacheFile {
    /// Reads it. A cache that can't be used costs time, so it is a warning and not the end.
    pub(crate) fn open(arguments: &LayerCacheArguments) -> Self {
        let chosen = arguments.layer_cache.clone().filter(|file| !file.is_empty()).map(PathBuf::from);
        let is_chosen = chosen.is_some();
        let file = if arguments.no_layer_cache { None } else { chosen.or_else(default_file) };
        let mut cache = Self { entries: LayerMemory::default(), file, is_chosen };
        match cache.file.as_deref().map(LayerMemory::read) {
            Some(Ok(memory)) => cache.entries = memory,
            Some(Err(error)) => cache.report(&error, "what earlier runs have made isn't known"),
            None => {}
        }
        cache
    }

    fn report(&self, error: &MemoryFileError, consequence: &str) {
        let (is_io_error, error) = (matches!(error, MemoryFileError::File { .. }), chain(error));
        if is_io_error && !self.is_chosen {
            tracing::debug!(error, "{consequence}");
        } else {
            tracing::warn!(error, "{consequence}");
        }
    }
}

/// Kept also after a failure, or where somebody stops it: layers that are done need not be done again.
impl Drop for LayerCacheFile {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.file.as_deref().map(|file| self.entries.save(file)) {
            self.report(&error, "the next run won't know what this one has made");
        }
    }
}

/// Where programs keep what they can do without (XDG base directory specification).
fn default_file() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::home_dir().map(|home| home.join(".cache"));
    // Relative ones would mean the folder of whatever is converted.
    let folder = named.filter(|folder| folder.is_absolute()).or_else(home);
    Some(folder.filter(|folder| folder.is_absolute())?.join("zstart").join("layers.json"))
}

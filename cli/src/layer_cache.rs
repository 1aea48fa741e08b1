//! What earlier runs converted: a small file, so that a base layer is converted once and not for each
//! image that stands on it.

use std::path::{Path, PathBuf};

use zstart_convert::LayerMemory;
use zstart_core::chain;

use crate::args::LayerCacheArguments;

/// The memory of this run, and where it is kept.
pub(crate) struct LayerCache {
    pub(crate) memory: LayerMemory,
    file: Option<PathBuf>,
}

impl LayerCache {
    /// Reads it. A cache that can't be used costs time, so it is a warning and not the end.
    pub(crate) fn open(arguments: &LayerCacheArguments) -> Self {
        let file =
            if arguments.no_layer_cache { None } else { arguments.layer_cache.clone().or_else(default) };
        let memory = file.as_deref().map(LayerMemory::read).transpose().unwrap_or_else(|error| {
            tracing::warn!(error = chain(&error), "what earlier runs have made isn't known");
            None
        });
        Self { memory: memory.unwrap_or_default(), file }
    }
}

/// Kept however the run ends: layers that were done before a failure need not be done again.
impl Drop for LayerCache {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.file.as_deref().map(|file| self.memory.save(file)) {
            tracing::warn!(error = chain(&error), "the next run won't know what this one has made");
        }
    }
}

/// Where programs keep what they can do without (XDG base directory specification).
fn default() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let folder = named.or_else(|| Some(std::env::home_dir()?.join(".cache")))?;
    Some(folder.join(Path::new("zstart").join("layers.json")))
}

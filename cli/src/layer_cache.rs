//! Layer cache file: records the layers that earlier runs converted, so that a base layer is converted once
//! and not for each image on it.

use std::path::PathBuf;

use zstart_convert::{LayerCache, LayerCacheError};
use zstart_core::chain;

use crate::args::LayerCacheArguments;

/// Layer cache of this run, and the file that persists it.
pub(crate) struct LayerCacheFile {
    pub(crate) entries: LayerCache,
    file: Option<PathBuf>,
    origin: FileOrigin,
}

/// Origin of the file's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileOrigin {
    /// The user named the file.
    Chosen,
    /// The file is below the user's cache folder. Its I/O errors are no warning: containers, for example,
    /// have no such folder.
    Default,
}

impl LayerCacheFile {
    /// Reads the file. An unusable cache costs time only, so the error is logged and the run continues.
    pub(crate) fn open(arguments: &LayerCacheArguments) -> Self {
        let chosen = arguments.layer_cache.clone().filter(|file| !file.is_empty()).map(PathBuf::from);
        let origin = if chosen.is_some() { FileOrigin::Chosen } else { FileOrigin::Default };
        let file = if arguments.no_layer_cache { None } else { chosen.or_else(default_file) };
        let mut cache = Self { entries: LayerCache::default(), file, origin };
        match cache.file.as_deref().map(LayerCache::read) {
            Some(Ok(entries)) => cache.entries = entries,
            Some(Err(error)) => {
                cache.report(&error, "ignored the layer cache; layers of earlier runs are converted again");
            }
            None => {}
        }
        cache
    }

    fn report(&self, error: &LayerCacheError, consequence: &str) {
        let (is_io_error, error) = (matches!(error, LayerCacheError::File { .. }), chain(error));
        if is_io_error && self.origin == FileOrigin::Default {
            tracing::debug!(error, "{consequence}");
        } else {
            tracing::warn!(error, "{consequence}");
        }
    }
}

/// Saves the file, also after a failure or a stop signal, so that the next run reuses finished layers.
impl Drop for LayerCacheFile {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.file.as_deref().map(|file| self.entries.save(file)) {
            self.report(
                &error,
                "failed to save the layer cache; the next run converts this run's layers again",
            );
        }
    }
}

/// Returns the default file in the user's cache folder (XDG base directory specification).
fn default_file() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::home_dir().map(|home| home.join(".cache"));
    // The specification ignores relative paths; they would follow the current folder.
    let folder = named.filter(|folder| folder.is_absolute()).or_else(home);
    Some(folder.filter(|folder| folder.is_absolute())?.join("zstart").join("layers.json"))
}

//! Layer cache file, for programs that start a process for each image.
//!
//! Entries of the file are trusted like layers that this process has verified. A file that other users can
//! write is therefore not read.

use std::collections::HashSet;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use thiserror::Error;
use zstart_core::sync;

use super::{CacheEntry, Generations, LayerCache, LayerKey};

/// Version of the file format.
const VERSION: u32 = 1;
/// Capacity of the file: the layers that were used last. A layer takes some 500 bytes, and reading all of
/// them takes a few milliseconds.
const MAX_LAYERS: usize = 4096;
/// Size above which a file isn't one of zstart's, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Time that another program may hold the lock. Adding to the file takes some milliseconds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Error of reading or saving a layer cache file.
#[derive(Debug, Error)]
pub enum LayerCacheError {
    /// A system call failed.
    #[error("failed to {action} layer cache {}", file.display())]
    File {
        /// Operation, as a verb.
        action: &'static str,
        /// The file.
        file: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The path is a folder, a device, a link or the like.
    #[error("layer cache {} is no regular file (links are not followed); name another path", file.display())]
    NotAFile {
        /// The file.
        file: PathBuf,
    },
    /// Another program holds the lock.
    #[error("layer cache {} has been locked by another program for {} s", file.display(), LOCK_TIMEOUT.as_secs())]
    Locked {
        /// The file.
        file: PathBuf,
    },
    /// Other users can write the file, and could choose the content of converted layers.
    #[error("layer cache {} is not used, because other users own it or may write to it: remove it", file.display())]
    Shared {
        /// The file.
        file: PathBuf,
    },
    /// The file is damaged or has another format version.
    #[error("layer cache {} is not used, because the file is damaged or of another version: {message}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Cause.
        message: String,
    },
}

/// The whole file.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    /// The most recently used layer first.
    layers: Vec<StoredLayer>,
}

#[derive(Serialize, Deserialize)]
struct StoredLayer {
    #[serde(flatten)]
    key: LayerKey,
    #[serde(flatten)]
    entry: CacheEntry,
}

impl LayerCache {
    /// Reads a cache. A missing file is an empty cache.
    pub fn read(file: &Path) -> Result<Self, LayerCacheError> {
        let layers = read(file)?;
        let older = layers.into_iter().map(|StoredLayer { key, entry }| (key, entry)).collect();
        let cache = Self::default();
        *sync::lock(&cache.generations) = Generations { older, ..Generations::default() };
        Ok(cache)
    }

    /// Adds the entries that were inserted or used since this cache was created or read. Entries that other
    /// programs added in the meantime stay. A file that can't be used is replaced.
    pub fn save(&self, file: &Path) -> Result<(), LayerCacheError> {
        let failed = |action| move |source| LayerCacheError::File { action, file: file.to_owned(), source };
        let mut layers: Vec<StoredLayer> = {
            let generations = sync::lock(&self.generations);
            let recent = generations.recent.iter();
            recent.map(|(key, value)| StoredLayer { key: key.clone(), entry: value.clone() }).collect()
        };
        if layers.is_empty() {
            return Ok(());
        }
        require_file(file)?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(failed("create the folder of"))?;
        let _lock = lock_file(file)?;
        match read(file) {
            Ok(there) => {
                let known: HashSet<LayerKey> = layers.iter().map(|layer| layer.key.clone()).collect();
                layers.extend(there.into_iter().filter(|layer| !known.contains(&layer.key)));
            }
            Err(LayerCacheError::Shared { .. } | LayerCacheError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
        layers.truncate(MAX_LAYERS);
        // The new file is private to its owner, and readers see it complete or not at all.
        let mut new = NamedTempFile::new_in(folder).map_err(failed("write"))?;
        let content = serde_json::to_vec(&Stored { version: VERSION, layers });
        let content = content.map_err(io::Error::from).map_err(failed("write"))?;
        new.write_all(&content).map_err(failed("write"))?;
        new.persist(file).map_err(|error| failed("replace")(error.error))?;
        Ok(())
    }
}

fn read(file: &Path) -> Result<Vec<StoredLayer>, LayerCacheError> {
    let failed = |source| LayerCacheError::File { action: "read", file: file.to_owned(), source };
    let damaged = |message| LayerCacheError::Damaged { file: file.to_owned(), message };
    if !require_file(file)? {
        return Ok(Vec::new());
    }
    let opened = open(file, File::options().read(true)).map_err(failed)?;
    if !only_user_can_write(&opened.metadata().map_err(failed)?) {
        return Err(LayerCacheError::Shared { file: file.to_owned() });
    }
    let mut content = Vec::new();
    opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > MAX_FILE_BYTES {
        return Err(damaged(format!("larger than the limit of {} MiB", MAX_FILE_BYTES >> 20)));
    }
    let stored: Stored = serde_json::from_slice(&content).map_err(|error| damaged(error.to_string()))?;
    if stored.version != VERSION {
        return Err(damaged(format!("version {} instead of {VERSION}", stored.version)));
    }
    Ok(stored.layers)
}

/// Returns whether the file exists; an error if the path is no regular file. Opening a pipe or a device can
/// block or have an effect; a link can lead to a file of another user.
fn require_file(file: &Path) -> Result<bool, LayerCacheError> {
    match fs::symlink_metadata(file) {
        Ok(metadata) if metadata.is_file() => Ok(true),
        Ok(_) => Err(LayerCacheError::NotAFile { file: file.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(LayerCacheError::File { action: "read", file: file.to_owned(), source }),
    }
}

/// Locks a file against replacement until the returned value is dropped. The lock is on a second file next
/// to it, whose content isn't changed.
#[expect(clippy::disallowed_methods, reason = "no event tells when another program releases a lock")]
fn lock_file(file: &Path) -> Result<File, LayerCacheError> {
    let failed = |source| LayerCacheError::File { action: "lock", file: file.to_owned(), source };
    let mut options = File::options();
    let lock = open(&file.with_added_extension("lock"), options.write(true).create(true)).map_err(failed)?;
    let started = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_TIMEOUT => {
                thread::sleep(LOCK_POLL_INTERVAL);
            }
            Err(TryLockError::WouldBlock) => return Err(LayerCacheError::Locked { file: file.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

/// Opens a file without following links; a new file is private to its owner.
fn open(file: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let itself = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.mode(0o600).custom_flags(itself.bits().cast_signed()).open(file)
}

/// Whether only this user or root can have written a file.
fn only_user_can_write(metadata: &Metadata) -> bool {
    const OTHERS_WRITE: u32 = 0o022;
    let ours = [0, rustix::process::geteuid().as_raw()];
    metadata.mode() & OTHERS_WRITE == 0 && ours.contains(&metadata.uid())
}

#[cfg(test)]
mod tests;

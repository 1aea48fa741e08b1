//! A memory in a file, for programs that are started anew for each image.
//!
//! What stands in it is believed as what this process has read itself, so a file that others could have
//! written is not read.

use std::collections::HashSet;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use thiserror::Error;

use super::{Generations, LayerKey, LayerMemory, Remembered};

/// The form of the file that is read and written.
const VERSION: u32 = 1;
/// How many layers a file holds: of those that were used last. One takes some 500 bytes, so reading all
/// of them takes a few milliseconds.
const LAYERS_MAX: usize = 4096;
/// Larger files are none of ours. In bytes.
const FILE_MAX: u64 = 16 << 20;

/// Why a memory can't be read from a file, or written to it.
#[derive(Debug, Error)]
pub enum MemoryFileError {
    /// The system said so.
    #[error("failed to {action} layer cache {}", file.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is a folder, a device or the like.
    #[error("layer cache {} is no regular file; name another one", file.display())]
    NotAFile {
        /// The file.
        file: PathBuf,
    },
    /// Somebody else could say there what a layer becomes.
    #[error("layer cache {} is not used, because others may write to it: remove it", file.display())]
    Shared {
        /// The file.
        file: PathBuf,
    },
    /// It isn't what this version writes.
    #[error("layer cache {} is not used, because it is damaged or of another version: {message}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        message: String,
    },
}

/// The whole file.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    /// Those first that were used last.
    layers: Vec<StoredLayer>,
}

#[derive(Serialize, Deserialize)]
struct StoredLayer {
    #[serde(flatten)]
    key: LayerKey,
    #[serde(flatten)]
    remembered: Remembered,
}

impl LayerMemory {
    /// Reads a memory. A file that doesn't exist is an empty one.
    pub fn read(file: &Path) -> Result<Self, MemoryFileError> {
        let layers = read(file)?;
        let older = layers.into_iter().map(|StoredLayer { key, remembered }| (key, remembered)).collect();
        let memory = Self::default();
        *memory.lock() = Generations { older, ..Generations::default() };
        Ok(memory)
    }

    /// Adds to a file what was remembered or used since this memory was made or read. What other
    /// programs have added meanwhile stays. What can't be used of the file is replaced.
    pub fn save(&self, file: &Path) -> Result<(), MemoryFileError> {
        let failed = |action| move |source| MemoryFileError::File { action, file: file.to_owned(), source };
        let mut layers: Vec<StoredLayer> = {
            let generations = self.lock();
            let recent = generations.recent.iter();
            recent.map(|(key, value)| StoredLayer { key: key.clone(), remembered: value.clone() }).collect()
        };
        if layers.is_empty() {
            return Ok(());
        }
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(failed("create the folder of"))?;
        let lock = File::create(file.with_added_extension("lock")).map_err(failed("lock"))?;
        lock.lock().map_err(failed("lock"))?;
        match read(file) {
            Ok(there) => {
                let known: HashSet<LayerKey> = layers.iter().map(|layer| layer.key.clone()).collect();
                layers.extend(there.into_iter().filter(|layer| !known.contains(&layer.key)));
            }
            Err(MemoryFileError::Shared { .. } | MemoryFileError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
        layers.truncate(LAYERS_MAX);
        // Only its owner may read or write it, and whoever reads it finds all of it.
        let mut new = NamedTempFile::new_in(folder).map_err(failed("write"))?;
        let content = serde_json::to_vec(&Stored { version: VERSION, layers });
        let content = content.map_err(io::Error::from).map_err(failed("write"))?;
        new.write_all(&content).map_err(failed("write"))?;
        new.persist(file).map_err(|error| failed("replace")(error.error))?;
        Ok(())
    }
}

fn read(file: &Path) -> Result<Vec<StoredLayer>, MemoryFileError> {
    let failed = |source| MemoryFileError::File { action: "read", file: file.to_owned(), source };
    let damaged = |message| MemoryFileError::Damaged { file: file.to_owned(), message };
    // Opening a pipe or a device can take for ever, or do something.
    match fs::metadata(file) {
        Ok(metadata) if !metadata.is_file() => {
            return Err(MemoryFileError::NotAFile { file: file.to_owned() });
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    }
    let opened = File::open(file).map_err(failed)?;
    if !is_ours_alone(&opened.metadata().map_err(failed)?) {
        return Err(MemoryFileError::Shared { file: file.to_owned() });
    }
    let mut content = Vec::new();
    opened.take(FILE_MAX + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > FILE_MAX {
        return Err(damaged(format!("it is larger than {} MiB", FILE_MAX >> 20)));
    }
    let stored: Stored = serde_json::from_slice(&content).map_err(|error| damaged(error.to_string()))?;
    if stored.version != VERSION {
        return Err(damaged(format!("version {} instead of {VERSION}", stored.version)));
    }
    Ok(stored.layers)
}

/// Whether nobody but this user (and root) can have written a file.
#[cfg(unix)]
fn is_ours_alone(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    const OTHERS_WRITE: u32 = 0o022;
    metadata.mode() & OTHERS_WRITE == 0 && metadata.uid() == rustix::process::geteuid().as_raw()
}

/// Elsewhere the folder's rights decide.
#[cfg(not(unix))]
fn is_ours_alone(_: &Metadata) -> bool {
    true
}

#[cfg(test)]
mod tests;

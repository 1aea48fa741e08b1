//! Configuration files in YAML.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use thiserror::Error;

/// Error of reading a configuration file.
#[derive(Debug, Error)]
pub enum ConfigFileError {
    /// The file can't be read.
    #[error("failed to read the configuration file {}", file.display())]
    Read {
        /// Path of the file.
        file: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The file is no YAML, or a field is unknown or has the wrong type.
    #[error("failed to parse the configuration file {}", file.display())]
    Parse {
        /// Path of the file.
        file: PathBuf,
        /// Position and cause.
        source: Box<serde_saphyr::Error>,
    },
}

/// Reads the file's text.
pub fn read(file: &Path) -> Result<String, ConfigFileError> {
    std::fs::read_to_string(file).map_err(|source| ConfigFileError::Read { file: file.to_owned(), source })
}

/// Parses the text. An empty text gives the defaults. Errors name `file`.
pub fn parse<T: DeserializeOwned + Default>(file: &Path, text: &str) -> Result<T, ConfigFileError> {
    if text.trim().is_empty() {
        return Ok(T::default());
    }
    serde_saphyr::from_str(text)
        .map_err(|source| ConfigFileError::Parse { file: file.to_owned(), source: Box::new(source) })
}

//! A configuration file in YAML.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use thiserror::Error;

/// The file is no such file.
#[derive(Debug, Error)]
pub enum ConfigFileError {
    /// It can't be read.
    #[error("failed to read the configuration file {}", file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It isn't YAML, or a field is unknown or of another type.
    #[error("failed to parse the configuration file {}: correct what follows", file.display())]
    Parse {
        /// Which file.
        file: PathBuf,
        /// Where, and what.
        source: Box<serde_saphyr::Error>,
    },
}

/// The file's text.
pub fn read(file: &Path) -> Result<String, ConfigFileError> {
    std::fs::read_to_string(file).map_err(|source| ConfigFileError::Read { file: file.to_owned(), source })
}

/// What the text says; a file without content says nothing, so everything has its default. Errors
/// name `file`.
pub fn parse<T: DeserializeOwned + Default>(file: &Path, text: &str) -> Result<T, ConfigFileError> {
    if text.trim().is_empty() {
        return Ok(T::default());
    }
    serde_saphyr::from_str(text)
        .map_err(|source| ConfigFileError::Parse { file: file.to_owned(), source: Box::new(source) })
}

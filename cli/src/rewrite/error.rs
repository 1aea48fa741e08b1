//! Errors of `zstart rewrite`.

use thiserror::Error;
use zstart_rewrite::{EditError, ParseError};

/// Reason for a failure.
#[derive(Debug, Error)]
pub(crate) enum RewriteError {
    /// A file or folder can't be read.
    #[error("failed to read {file}")]
    Read {
        file: String,
        #[source]
        source: std::io::Error,
    },
    /// A file is neither YAML nor JSON nor Terraform.
    #[error("failed to parse {file}")]
    Parse {
        file: String,
        #[source]
        source: ParseError,
    },
    /// An image of a file has a variant, and can't be replaced.
    #[error("failed to rewrite {file}")]
    Edit {
        file: String,
        #[source]
        source: EditError,
    },
    /// A file can't be replaced.
    #[error("failed to write {file}")]
    Write {
        file: String,
        #[source]
        source: std::io::Error,
    },
    /// Several files have no place on stdout.
    #[error("failed to choose an output for {count} files: stdout takes one; add --in-place or --check")]
    SeveralFiles { count: usize },
    /// stdin has no place to write to.
    #[error("failed to rewrite stdin in place: leave out --in-place, and the result is written to stdout")]
    StdinInPlace,
    /// stdin was named twice.
    #[error("failed to read stdin twice: name - once")]
    StdinTwice,
    /// A folder has no files of a known format.
    #[error("failed to find .yaml, .yml, .json, .tf or .tofu files in {folder}; add -R for its folders")]
    EmptyFolder { folder: String },
    /// Result of `--check`.
    #[error("{images} to replace in {files}: run zstart rewrite without --check")]
    Outdated { images: String, files: String },
    /// Result of `--check --convert`.
    #[error("{images} to convert: run zstart rewrite --convert without --check")]
    Unconverted { images: String },
}

impl RewriteError {
    /// Exit code, as listed in `--help`.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Read { .. } | Self::Write { .. } => 1,
            Self::Parse { .. }
            | Self::Edit { .. }
            | Self::SeveralFiles { .. }
            | Self::StdinInPlace
            | Self::StdinTwice
            | Self::EmptyFolder { .. } => 2,
            Self::Outdated { .. } | Self::Unconverted { .. } => 9,
        }
    }
}

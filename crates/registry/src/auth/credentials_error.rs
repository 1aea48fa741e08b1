//! Errors of credentials files and credential helpers. None holds a secret.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

/// A credentials file that can't be used for an image.
#[derive(Debug, Error)]
#[error("failed to use the credentials file {}", path.display())]
pub struct CredentialsFileError {
    /// The file.
    pub path: PathBuf,
    /// Cause.
    pub source: Box<CredentialsError>,
}

impl CredentialsFileError {
    pub(super) fn new(path: &Path, source: CredentialsError) -> Self {
        Self { path: path.to_owned(), source: source.into() }
    }

    /// Whether no such file exists.
    pub(super) fn is_missing(&self) -> bool {
        let is_missing = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        };
        matches!(&*self.source, CredentialsError::Read(error) if is_missing(error))
    }
}

/// Credentials that can't be read.
#[derive(Debug, Error)]
pub enum CredentialsError {
    /// The file isn't readable.
    #[error("failed to read the file")]
    Read(#[source] io::Error),
    /// The text is no JSON.
    #[error("Docker config is not readable JSON (line {line}, column {column})")]
    Syntax {
        /// Line where the parser stopped. The parser's own message could quote a secret.
        line: usize,
        /// Column where the parser stopped.
        column: usize,
    },
    /// A part of the text has another type than in a Docker config.
    #[error("Docker config has {part} that is not a JSON object")]
    NoObject {
        /// The part.
        part: &'static str,
    },
    /// An entry of `auths` holds nothing usable.
    #[error("Docker config's entry for {registry} is not usable: {problem}")]
    Entry {
        /// The entry's key.
        registry: String,
        /// Cause.
        problem: EntryProblem,
    },
    /// A setting that should name a credential helper has another type.
    #[error("Docker config's {setting} is not usable: the value has the wrong type")]
    HelperSetting {
        /// The setting.
        setting: String,
    },
    /// A credential helper can't be run, or failed.
    #[error("credential helper {program}, named in {setting}, failed for {server}")]
    Helper {
        /// The program's name.
        program: String,
        /// Setting that names the helper.
        setting: String,
        /// Server that the helper was asked about.
        server: String,
        /// Cause.
        source: HelperError,
    },
}

/// Cause of an entry without usable credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EntryProblem {
    /// The entry is a text or a number.
    #[error("the entry is not an object")]
    NoObject,
    /// A member is not a text.
    #[error("the entry's {0:?} is not a text")]
    NoText(&'static str),
    /// `auth` is not base64 of `username:password`.
    #[error("the entry's \"auth\" is not base64 of username:password")]
    Auth,
    /// The entry has a registry token only, which zstart doesn't support.
    #[error(
        "the entry has only a registry token; log in with a user name and password, or an identity token"
    )]
    RegistryToken,
}

/// Cause of a credential helper's failure.
#[derive(Debug, Error)]
pub enum HelperError {
    /// The name would run a program in a folder.
    #[error("the helper's name has a path separator; write the name of a program on the PATH")]
    Name,
    /// The program doesn't exist.
    #[error("no such program in an absolute folder of the PATH; install the helper, or remove the setting")]
    NotFound,
    /// The program doesn't start, or its output can't be read.
    #[error("failed to run the program")]
    Run(#[source] io::Error),
    /// The program didn't end in time.
    #[error("the helper did not answer within {limit:?} and was stopped")]
    Timeout {
        /// The limit.
        limit: Duration,
    },
    /// The answer is too long.
    #[error("the helper's answer exceeds the limit of {max} bytes")]
    TooLarge {
        /// The limit.
        max: usize,
    },
    /// The program reported a failure.
    #[error("{status}{message}")]
    Failed {
        /// Exit status.
        status: std::process::ExitStatus,
        /// The helper's message in one line, with a colon in front, or nothing.
        message: String,
    },
    /// The answer is no credentials. The answer is a secret, so no part of it is shown.
    #[error("the helper's answer is not credentials")]
    Answer,
}

//! Errors of credential files and helpers.

use std::path::PathBuf;

use thiserror::Error;

/// Credentials that can't be read.
#[derive(Debug, Error)]
pub enum CredentialsError {
    /// The file isn't readable.
    #[error("failed to read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The text is no Docker config.
    #[error("Docker config is not readable JSON (line {line}, column {column})")]
    Parse {
        /// Line where the parser stopped. The parser's own message could quote a secret.
        line: usize,
        /// Column where the parser stopped.
        column: usize,
    },
    /// An entry's `auth` is not base64 of `username:password`.
    #[error("Docker config's entry for {registry} has an \"auth\" that is not base64 of username:password")]
    Auth {
        /// The entry's key.
        registry: String,
    },
    /// An identity token, which zstart doesn't support.
    #[error(
        "Docker config's entry for {registry} is an identity token; log in with a user name and password"
    )]
    IdentityToken {
        /// The entry's key.
        registry: String,
    },
    /// The helper can't be run, or failed.
    #[error("credential helper {program} failed for {registry}: {message}")]
    Helper {
        /// The program's name.
        program: String,
        /// The registry that needs credentials.
        registry: String,
        /// The helper's output.
        message: String,
    },
}

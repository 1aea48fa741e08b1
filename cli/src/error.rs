//! How the command fails: a message for people, an exit code for scripts.

use std::path::PathBuf;
use std::process::ExitCode;

use thiserror::Error;
use zstart_convert::{Error as ConvertError, ErrorClass};
use zstart_ecr::SetupError;
use zstart_registry::ClientError;
use zstart_registry::credentials::CredentialsError;

/// Why a command ended without success.
#[derive(Debug, Error)]
pub(crate) enum CliError {
    /// The engine said so.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// Credentials can't be had.
    #[error("failed to find credentials")]
    Credentials(#[from] CredentialsError),
    /// There is no HTTP client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// There is none for AWS.
    #[error(transparent)]
    Aws(#[from] SetupError),
    /// An OCI layout was named without a tag, and it isn't clear which image is meant.
    #[error("{folder} holds {found}; name one as oci:{folder}:TAG")]
    AmbiguousImage {
        /// The folder.
        folder: String,
        /// What is there.
        found: String,
    },
    /// A target by digest can't be chosen: the digest follows from the content.
    #[error("the target {target} names a digest; name a tag, or none")]
    TargetDigest {
        /// What was given.
        target: String,
    },
    /// The source's own tag would come to mean the variant.
    #[error("the target {target} is the source itself; zstart never changes a source")]
    TargetIsSource {
        /// What was given.
        target: String,
    },
    /// The result can't be printed.
    #[error("failed to print the result")]
    Print {
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The result can't be put into words.
    #[error("failed to write {what}: {message}")]
    Serialize {
        /// What was to be written.
        what: &'static str,
        /// What the serializer said.
        message: String,
    },
    /// The home folder isn't known.
    #[error("failed to find {file}: the system names no home folder; use --authfile")]
    NoHomeFolder {
        /// What was looked for.
        file: PathBuf,
    },
    /// The async runtime doesn't start.
    #[error("failed to start")]
    Runtime {
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The user stopped it.
    #[error("stopped; nothing was tagged")]
    Stopped,
}

impl CliError {
    /// Prints the message and what caused it.
    #[expect(clippy::print_stderr, reason = "this is the command line's error message")]
    pub(crate) fn report(&self) {
        eprintln!("error: {self}");
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            eprintln!("  caused by: {error}");
            cause = error.source();
        }
    }

    /// The exit code, as `--help` lists them.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Convert(error) => match error.class() {
                ErrorClass::NotFound => 3,
                ErrorClass::PullDenied | ErrorClass::PushDenied => 4,
                ErrorClass::Unavailable | ErrorClass::RateLimited { .. } => 5,
                ErrorClass::ContentMismatch => 6,
                ErrorClass::Refused => 7,
                ErrorClass::SourceMoved | ErrorClass::VariantConflict => 8,
                ErrorClass::Other => 1,
            },
            Self::AmbiguousImage { .. } | Self::TargetDigest { .. } | Self::TargetIsSource { .. } => 2,
            Self::Stopped => 130,
            Self::Credentials(_)
            | Self::Client(_)
            | Self::Aws(_)
            | Self::Print { .. }
            | Self::Serialize { .. }
            | Self::NoHomeFolder { .. }
            | Self::Runtime { .. } => 1,
        })
    }
}

impl From<zstart_registry::RepositoryError> for CliError {
    fn from(error: zstart_registry::RepositoryError) -> Self {
        Self::Convert(error.into())
    }
}

//! A look at a source that didn't end well: what kind it is and how it is told.

use thiserror::Error;
use zstart_convert::{Error, ErrorClass};
use zstart_core::record::RecordReason;

use crate::credentials::CandidateError;

/// Why a source isn't served by a variant.
#[derive(Debug, Error)]
pub(super) enum ReconcileError {
    /// The record itself can't be followed.
    #[error("{0}")]
    Record(String),
    /// What the source means now couldn't be found out.
    #[error("{}", .0.chain())]
    Resolve(#[source] Error),
    /// It is known, but there is no variant of it.
    #[error("{}", .0.chain())]
    Convert(#[source] Error),
    /// It isn't known as whom to ask.
    #[error("{}", zstart_core::chain(.0))]
    Credentials(#[from] CandidateError),
    /// The status can't be written.
    #[error("failed to write the record's status")]
    Status(#[from] kube::Error),
}

impl ReconcileError {
    pub(super) fn class(&self) -> ErrorClass {
        match self {
            Self::Record(_) => ErrorClass::Refused,
            Self::Resolve(error) | Self::Convert(error) => error.class(),
            Self::Credentials(_) | Self::Status(_) => ErrorClass::Other,
        }
    }

    pub(super) fn reason(&self) -> RecordReason {
        match self.class() {
            ErrorClass::NotFound => RecordReason::SourceNotFound,
            ErrorClass::PullDenied => RecordReason::PullDenied,
            ErrorClass::PushDenied => RecordReason::PushDenied,
            ErrorClass::Unavailable => RecordReason::RegistryUnavailable,
            ErrorClass::RateLimited { retry_after: _ } => RecordReason::RateLimited,
            ErrorClass::ContentMismatch => RecordReason::ContentMismatch,
            ErrorClass::SourceMoved => RecordReason::SourceMoved,
            ErrorClass::VariantConflict => RecordReason::VariantConflict,
            ErrorClass::Refused => RecordReason::NotConvertible,
            ErrorClass::Other => RecordReason::Failed,
        }
    }

    /// Whether other credentials could fare better. A registry may hide what one may not see.
    pub(super) fn depends_on_credentials(&self) -> bool {
        matches!(self.class(), ErrorClass::NotFound | ErrorClass::PullDenied | ErrorClass::PushDenied)
    }

    /// Whether a variant that served goes on to serve: the trouble says nothing about the image. How
    /// long is bounded by `maxStaleness`.
    pub(super) fn keeps_variant_ready(&self) -> bool {
        matches!(self.class(), ErrorClass::Unavailable | ErrorClass::RateLimited { .. } | ErrorClass::Other)
    }

    /// Of two failures with different credentials, the one that came further: it can push nothing,
    /// it sees that nothing is there, it sees nothing.
    pub(super) fn more_specific(self, other: Self) -> Self {
        let rank = |failure: &Self| match failure.class() {
            ErrorClass::PushDenied => 2,
            ErrorClass::NotFound => 1,
            _ => 0,
        };
        if rank(&other) > rank(&self) { other } else { self }
    }
}

//! Errors of a conversion, and their classes.

use std::time::Duration;

use thiserror::Error;
use zstart_core::{Digest, Tag};

use crate::plan::Refusal;
use zstart_codec::LayerError;
use zstart_oci::{JsonError, ManifestError};
use zstart_registry::{Access, ErrorKind, RegistryError};

/// Error of a conversion. A failed conversion wrote no tag, except for
/// [`NotVerified`](Self::NotVerified): the tag was written, but its content is incomplete.
#[derive(Debug, Error)]
pub enum Error {
    /// A request to a repository failed.
    #[error(transparent)]
    Repository(#[from] RegistryError),
    /// A manifest or index can't be parsed.
    #[error("failed to read the image's manifest")]
    Manifest(#[from] ManifestError),
    /// A config can't be parsed.
    #[error("failed to read image config {digest}")]
    Config {
        /// The config.
        digest: Digest,
        /// Cause.
        #[source]
        source: zstart_oci::ConfigError,
    },
    /// A member of a manifest can't be read or written.
    #[error("failed to read or write a member of manifest {digest}")]
    Member {
        /// The manifest.
        digest: Digest,
        /// Cause.
        #[source]
        source: JsonError,
    },
    /// zstart leaves this image alone.
    #[error("{reference} is left alone: {refusal}")]
    Refused {
        /// The image.
        reference: String,
        /// Reason.
        refusal: Refusal,
    },
    /// An index is copied to another repository, and one of its manifests is missing. A variant in the
    /// source's own repository keeps the missing entry listed.
    #[error(
        "failed to copy the index to another repository: manifest {digest}, which the index lists, is not at {location}"
    )]
    EntryMissing {
        /// The source's repository.
        location: String,
        /// The missing manifest.
        digest: Digest,
    },
    /// A layer can't be converted.
    #[error("failed to convert layer {digest}")]
    Layer {
        /// The layer.
        digest: Digest,
        /// Cause.
        #[source]
        source: LayerError,
    },
    /// A config, or a layer that isn't converted, can't be read to its end.
    #[error("failed to read blob {digest}")]
    Blob {
        /// The blob.
        digest: Digest,
        /// Cause.
        #[source]
        source: LayerError,
    },
    /// A layer's uncompressed bytes don't have the digest in the config.
    #[error(transparent)]
    DiffId(Box<DiffIdMismatch>),
    /// The tag moved during the conversion.
    #[error("{reference} moved from {from} to {to} during the conversion")]
    SourceMoved {
        /// The source.
        reference: String,
        /// Digest that was converted.
        from: Digest,
        /// Digest that the tag names now.
        to: Digest,
    },
    /// The tag that a user chose names another image.
    #[error(
        "tag {location}:{tag} names another image: {found}. Choose another tag, or convert with --force to replace \
         the image"
    )]
    VariantConflict {
        /// The repository.
        location: String,
        /// The chosen tag.
        tag: Tag,
        /// Difference from the variant.
        found: String,
    },
    /// The tag that only one variant can have names another image.
    #[error(
        "tag {location}:{tag} is the name of variant {digest}, but names {found}. zstart never replaces an image: \
         give that image another tag, then delete this tag if no pod runs it"
    )]
    TagTaken {
        /// The repository.
        location: String,
        /// The variant's tag.
        tag: Tag,
        /// The variant.
        digest: Digest,
        /// Digest that the tag names.
        found: Digest,
    },
    /// The variant that was read back differs from the one that was pushed.
    #[error("failed to verify the pushed variant {location}:{tag}: {found}")]
    NotVerified {
        /// The repository.
        location: String,
        /// The variant's tag.
        tag: Tag,
        /// Difference from the pushed variant.
        found: String,
    },
    /// Pieces of the image can't be encoded or decoded.
    #[error("failed to measure zstd level {level}")]
    Measure {
        /// The level.
        level: i32,
        /// Cause.
        #[source]
        source: LayerError,
    },
    /// The thread of a layer panicked or was cancelled.
    #[error("failed to convert layer {digest}: its thread ended early")]
    Interrupted {
        /// The layer.
        digest: Digest,
    },
}

/// Class of an error. Callers choose a condition, an exit code and a delay by class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The source, or a blob or manifest of the source, doesn't exist.
    NotFound,
    /// The registry denied the pull.
    PullDenied,
    /// The registry denied the push.
    PushDenied,
    /// The registry can't be reached or fails; a retry may succeed.
    Unavailable,
    /// The registry limits the rate of requests.
    RateLimited {
        /// Delay that the registry asked for.
        retry_after: Option<Duration>,
    },
    /// Bytes don't match their digest or `diff_id`.
    ContentMismatch,
    /// The pushed variant can't be read back as it was pushed. That says nothing about the source.
    NotVerified,
    /// The tag moved; a conversion of the new digest can start at once.
    SourceMoved,
    /// The variant's tag names another image, or can't be changed.
    VariantConflict,
    /// zstart leaves the image alone; a retry has the same result.
    Refused,
    /// Other errors.
    Other,
}

/// A layer whose uncompressed bytes don't have the digest in the config.
#[derive(Debug, Error)]
#[error(
    "layer {layer} of manifest {manifest} unpacks to {found}, but the config promises diff_id {promised}"
)]
pub struct DiffIdMismatch {
    /// The manifest.
    pub manifest: Digest,
    /// The compressed layer.
    pub layer: Digest,
    /// Digest of the uncompressed bytes.
    pub found: Digest,
    /// The layer's `diff_id` in the config.
    pub promised: Digest,
}

impl Error {
    /// Class of this error.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Repository(error) => error.into(),
            Self::Manifest(_) | Self::Config { .. } | Self::Refused { .. } | Self::EntryMissing { .. } => {
                ErrorClass::Refused
            }
            Self::Layer { source, .. } | Self::Blob { source, .. } => source.into(),
            Self::DiffId(_) => ErrorClass::ContentMismatch,
            Self::NotVerified { .. } => ErrorClass::NotVerified,
            Self::SourceMoved { .. } => ErrorClass::SourceMoved,
            Self::VariantConflict { .. } | Self::TagTaken { .. } => ErrorClass::VariantConflict,
            Self::Member { .. } | Self::Measure { .. } | Self::Interrupted { .. } => ErrorClass::Other,
        }
    }

    /// Returns whether the content of the source is the cause. Another attempt for the same digest ends the same way.
    pub fn is_caused_by_content(&self) -> bool {
        // A blob that doesn't have its digest may be pushed again.
        matches!(self, Self::DiffId(_)) || self.class() == ErrorClass::Refused
    }

    /// The error and its causes, in one line.
    pub fn chain(&self) -> String {
        zstart_core::chain(self)
    }
}

impl From<&RegistryError> for ErrorClass {
    fn from(error: &RegistryError) -> Self {
        match (error.kind, error.operation.access) {
            (ErrorKind::NotFound, Access::Pull) => Self::NotFound,
            (ErrorKind::Denied, Access::Pull) => Self::PullDenied,
            (ErrorKind::Denied, Access::Push) => Self::PushDenied,
            (ErrorKind::Unavailable, _) => Self::Unavailable,
            (ErrorKind::RateLimited { retry_after }, _) => Self::RateLimited { retry_after },
            (ErrorKind::TagImmutable, _) => Self::VariantConflict,
            (ErrorKind::ContentMismatch, _) => Self::ContentMismatch,
            (ErrorKind::NotFound, Access::Push) | (ErrorKind::Other, _) => Self::Other,
        }
    }
}

impl From<&LayerError> for ErrorClass {
    fn from(error: &LayerError) -> Self {
        match error {
            LayerError::Gzip { .. }
            | LayerError::TrailingGarbage { .. }
            | LayerError::Zstd { .. }
            | LayerError::TooLarge { .. } => Self::Refused,
            LayerError::Digest { .. } => Self::ContentMismatch,
            LayerError::Read { .. } | LayerError::Write { .. } => Self::Unavailable,
            LayerError::Transcode { .. } => Self::Other,
        }
    }
}

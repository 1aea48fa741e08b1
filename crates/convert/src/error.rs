//! What can go wrong in a conversion, and what kind of trouble it is.

use std::time::Duration;

use thiserror::Error;
use zstart_core::{Digest, Tag};

use crate::plan::Refusal;
use zstart_codec::LayerError;
use zstart_oci::{JsonError, ManifestError};
use zstart_registry::{Access, ErrorKind, RegistryError};

/// A conversion that didn't come to its end. It tagged nothing, unless it is
/// [`NotVerified`](Self::NotVerified): then the tag was written, and what is read there isn't whole.
#[derive(Debug, Error)]
pub enum Error {
    /// Reading or writing a repository failed.
    #[error(transparent)]
    Repository(#[from] RegistryError),
    /// A manifest can't be read.
    #[error("failed to read the image")]
    Manifest(#[from] ManifestError),
    /// A config can't be read.
    #[error("failed to read image config {digest}")]
    Config {
        /// Which config.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        source: zstart_oci::ConfigError,
    },
    /// A manifest's member can't be read or written.
    #[error("failed to read or write a member of manifest {digest}")]
    Member {
        /// Which manifest.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        source: JsonError,
    },
    /// zstart leaves this image alone.
    #[error("{reference} is left alone: {refusal}")]
    Refused {
        /// Which image.
        reference: String,
        /// Why.
        refusal: Refusal,
    },
    /// An index that is to go to another repository lists a manifest that isn't there. Beside the
    /// source it stays listed, as it was.
    #[error(
        "the index lists manifest {digest}, which is not at {location}: it can't be copied elsewhere whole"
    )]
    EntryMissing {
        /// The source's repository.
        location: String,
        /// Which manifest.
        digest: Digest,
    },
    /// A layer can't be converted.
    #[error("failed to convert layer {digest}")]
    Layer {
        /// Which layer.
        digest: Digest,
        /// Why.
        #[source]
        source: LayerError,
    },
    /// A config, or a layer that stays as it is, can't be read whole.
    #[error("failed to read blob {digest}")]
    Blob {
        /// Which blob.
        digest: Digest,
        /// Why.
        #[source]
        source: LayerError,
    },
    /// A layer's uncompressed bytes are not those that the config promises.
    #[error(
        "layer {layer} of manifest {manifest} unpacks to {found}, but its config promises diff_id {promised}"
    )]
    DiffId {
        /// The manifest.
        manifest: Digest,
        /// The compressed layer.
        layer: Digest,
        /// The digest of what came out.
        found: Digest,
        /// The digest that the config names in the same place.
        promised: Digest,
    },
    /// The tag means another digest than when the conversion began.
    #[error("{reference} moved from {from} to {to} while it was being converted")]
    SourceMoved {
        /// The source.
        reference: String,
        /// What was converted.
        from: Digest,
        /// What it means now.
        to: Digest,
    },
    /// Something else stands where the variant belongs.
    #[error("{location}:{tag} is taken: {found}. Delete that tag, or convert with --force to replace it")]
    VariantConflict {
        /// The repository.
        location: String,
        /// The variant's tag.
        tag: Tag,
        /// What stands there.
        found: String,
    },
    /// What was read back isn't what was pushed.
    #[error("{location}:{tag} does not hold the variant that was pushed: {found}")]
    NotVerified {
        /// The repository.
        location: String,
        /// The variant's tag.
        tag: Tag,
        /// What stands there.
        found: String,
    },
    /// Pieces of the image can't be encoded or decoded at a level.
    #[error("failed to measure zstd level {level}")]
    Measure {
        /// Which level.
        level: i32,
        /// Why.
        #[source]
        source: LayerError,
    },
    /// The thread that converts layers died.
    #[error("the conversion of layer {digest} was interrupted")]
    Interrupted {
        /// Which layer.
        digest: Digest,
    },
}

/// Kinds of trouble, by which callers choose a condition, an exit code and a delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Something that was to be read isn't there: the source, or what its manifests name.
    NotFound,
    /// The credentials may not read.
    PullDenied,
    /// The credentials may not write.
    PushDenied,
    /// The other side is away or in trouble; worth trying again.
    Unavailable,
    /// The other side asked to slow down.
    RateLimited {
        /// How long it asked to wait.
        retry_after: Option<Duration>,
    },
    /// Bytes are not what their digest or `diff_id` says.
    ContentMismatch,
    /// The tag moved; what it means now can be converted at once.
    SourceMoved,
    /// The variant's tag is taken by something else.
    VariantConflict,
    /// The image is left alone, now and later.
    Refused,
    /// Anything else.
    Other,
}

impl Error {
    /// What kind of trouble this is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Repository(error) => error.into(),
            Self::Manifest(_) | Self::Config { .. } | Self::Refused { .. } | Self::EntryMissing { .. } => {
                ErrorClass::Refused
            }
            Self::Layer { source, .. } | Self::Blob { source, .. } => source.into(),
            Self::DiffId { .. } | Self::NotVerified { .. } => ErrorClass::ContentMismatch,
            Self::SourceMoved { .. } => ErrorClass::SourceMoved,
            Self::VariantConflict { .. } => ErrorClass::VariantConflict,
            Self::Member { .. } | Self::Measure { .. } | Self::Interrupted { .. } => ErrorClass::Other,
        }
    }

    /// The error and its causes in one line.
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
        }
    }
}

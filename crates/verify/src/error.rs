//! Errors of a verification. A difference is no error: the report lists it.

use thiserror::Error;

use crate::fault::ContentFault;
use crate::reader::{ReadError, Side};

/// A verification can't be finished.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// An image can't be read.
    #[error("failed to verify: the {} can't be read", side.name())]
    Read {
        /// The image.
        side: Side,
        /// Cause.
        #[source]
        source: ReadError,
    },
    /// The manifest or index of an image is damaged.
    #[error("failed to verify: the {}'s manifest is damaged", side.name())]
    Content {
        /// The image.
        side: Side,
        /// Cause.
        #[source]
        source: ContentFault,
    },
    /// An image isn't of a kind that zstart converts.
    #[error("failed to verify: the {} {reason}", side.name())]
    Unsupported {
        /// The image.
        side: Side,
        /// Cause, as the end of a sentence.
        reason: String,
    },
    /// No converted image is of a selected platform.
    #[error("failed to verify: the variant has no converted image for {platforms}; it has {available}")]
    NoPlatform {
        /// Selected platforms.
        platforms: String,
        /// Platforms of the converted images.
        available: String,
    },
}

impl VerifyError {
    pub(crate) fn read(side: Side) -> impl Fn(ReadError) -> Self {
        move |source| Self::Read { side, source }
    }

    pub(crate) fn content(side: Side) -> impl Fn(ContentFault) -> Self {
        move |source| Self::Content { side, source }
    }
}

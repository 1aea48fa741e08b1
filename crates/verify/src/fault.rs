//! Faults of an image's content: the bytes arrived, and are wrong.

use thiserror::Error;

use crate::digest::Digest;

/// Fault of a blob or document.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ContentFault {
    /// The bytes don't have the promised digest.
    #[error("the bytes have digest {found} instead of {expected}")]
    Digest {
        /// Digest of the bytes.
        found: Digest,
        /// Digest in the reference or descriptor.
        expected: Digest,
    },
    /// The content ends before or after the descriptor's size.
    #[error("the content has {} bytes than its descriptor's {expected}", if *is_longer { "more" } else { "fewer" })]
    Size {
        /// Size in the descriptor, in bytes.
        expected: u64,
        /// Whether more bytes arrived than promised.
        is_longer: bool,
    },
    /// A layer's compressed bytes can't be decoded.
    #[error("the {compression} data can't be decoded: {reason}")]
    Undecodable {
        /// Compression of the layer.
        compression: &'static str,
        /// Cause.
        reason: String,
    },
    /// A layer unpacks to more than the limit for its size.
    #[error("the layer unpacks to more than {limit} bytes, the limit for its compressed size")]
    Unpacked {
        /// Limit in bytes.
        limit: u64,
    },
    /// A document is larger than the limit.
    #[error("the {object} has {size} bytes, which exceeds the limit of {limit} bytes")]
    TooLarge {
        /// Kind of document.
        object: &'static str,
        /// Size in bytes, as stated or received.
        size: u64,
        /// Limit in bytes.
        limit: u64,
    },
    /// The registry client found the fault, e.g. a wrong `Docker-Content-Digest`.
    #[error("{reason}")]
    Rejected {
        /// The client's words.
        reason: String,
    },
    /// A document isn't JSON, or lacks a member.
    #[error("the {object} is malformed: {reason}")]
    Malformed {
        /// Kind of document.
        object: &'static str,
        /// Cause.
        reason: String,
    },
}

//! Errors of a transcoding.

use std::io;

use thiserror::Error;

/// An error of a transcoding.
#[derive(Debug, Error)]
pub enum TranscodeError {
    /// The gzip stream is damaged or truncated, or its checksum is wrong.
    #[error("the gzip stream is damaged at or before byte {offset}")]
    Gzip {
        /// Number of compressed bytes read before the error.
        offset: u64,
        /// The damage.
        #[source]
        damage: Damage,
    },
    /// Bytes other than zero padding follow the last gzip member.
    #[error("the gzip stream ends at byte {offset}, but unknown bytes follow")]
    TrailingGarbage {
        /// Offset of the first unknown byte.
        offset: u64,
    },
    /// The stream has more uncompressed bytes than its limit.
    #[error("the gzip stream has more than {max_uncompressed} uncompressed bytes")]
    TooLarge {
        /// The limit in bytes.
        max_uncompressed: u64,
    },
    /// The transcoder made wrong sequences, or zstd made wrong blocks of them. The stream must be decoded and
    /// encoded in the ordinary way.
    #[error("the transcoder failed at byte {position} of the uncompressed stream")]
    Internal {
        /// Number of uncompressed bytes before the block or segment with the fault.
        position: u64,
        /// The fault.
        #[source]
        fault: Fault,
    },
    /// The source failed before the stream's end.
    #[error("failed to read the gzip stream")]
    Read {
        /// The source's error.
        #[source]
        source: io::Error,
    },
    /// The operating system refused a second thread.
    #[error("failed to start a thread")]
    Thread {
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The sink failed.
    #[error("failed to write transcoded bytes")]
    Sink {
        /// The sink's error.
        #[source]
        source: io::Error,
    },
    /// An earlier call failed, so that the frame can't be completed.
    #[error("an earlier step of the transcoding failed")]
    Failed,
}

impl TranscodeError {
    /// Returns whether the gzip stream is good, so that encoding it in the ordinary way may succeed.
    pub fn is_internal(&self) -> bool {
        matches!(self, Self::Internal { .. })
    }
}

/// Damage of a gzip stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Damage {
    /// The stream ends inside a member.
    #[error("the stream is truncated")]
    Truncated,
    /// The first two bytes aren't gzip's magic.
    #[error("the member doesn't start with gzip's magic")]
    Magic,
    /// The compression method isn't deflate.
    #[error("unknown compression method")]
    Method,
    /// A reserved flag is set (RFC 1952, 2.3.1.2).
    #[error("reserved header flag")]
    ReservedFlag,
    /// The file name or the comment has more than 65,535 bytes.
    #[error("header field over 65,535 bytes")]
    HeaderField,
    /// The header's checksum is wrong.
    #[error("wrong checksum of the header")]
    HeaderChecksum,
    /// The deflate block has the reserved type 3.
    #[error("reserved block type")]
    BlockType,
    /// The two length fields of a stored block contradict each other.
    #[error("contradictory length of a stored block")]
    StoredLength,
    /// The code lengths of a dynamic block don't describe a code.
    #[error("invalid code lengths")]
    CodeLengths,
    /// The compressed data have a code without a symbol.
    #[error("invalid code")]
    Code,
    /// A match starts before the member.
    #[error("match distance beyond the start of the member")]
    Distance,
    /// The member's checksum is wrong.
    #[error("wrong checksum of the member")]
    Checksum,
    /// The member's length field is wrong.
    #[error("wrong length of the member")]
    Length,
}

/// A fault of the transcoder or of zstd.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// A match is shorter than zstd's shortest match, starts outside of window or stream, or its bytes differ
    /// from its source's.
    #[error("sequence {sequence} of the block has a wrong match")]
    Match {
        /// Number of the sequence in its block.
        sequence: usize,
    },
    /// The sequences of a block describe more or fewer bytes than the block has.
    #[error("the sequences of the block describe {described} of {expected} bytes")]
    Length {
        /// Number of bytes that the sequences describe.
        described: usize,
        /// Number of bytes of the block.
        expected: usize,
    },
    /// A sequence at a block's start has an offset that zstd could encode as a repetition of an offset that the
    /// decoder doesn't have.
    #[error("sequence {sequence} of the block has an offset that zstd assumes")]
    AssumedOffset {
        /// Number of the sequence in its block.
        sequence: usize,
    },
    /// The kernel refused memory for the window.
    #[error("failed to get memory for the window")]
    Memory,
    /// zstd refused the sequences.
    #[error("zstd failed to encode the segment: {message}")]
    Encode {
        /// zstd's error name.
        message: &'static str,
    },
    /// zstd wrote a segment that isn't a header followed by blocks.
    #[error("zstd wrote an unexpected frame")]
    Frame,
    /// zstd can't decode the segment that it wrote.
    #[error("zstd failed to decode the segment: {message}")]
    Decode {
        /// zstd's error name.
        message: &'static str,
    },
    /// The segment decodes to other bytes.
    #[error("the segment decodes to other bytes")]
    Different,
}

//! Hints about the compressor of a stream.

/// Hints about the compressor of a stream, from the part that was read.
///
/// A transcoded frame inherits the compressor's search. If the compressor searched little, the frame is larger
/// than one of level 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// The first member's header says that the compressor was at its fastest (RFC 1952, 2.3.1: XFL is 4).
    pub is_fastest: bool,
    /// Number of uncompressed bytes in stored blocks. It doesn't depend on how the stream was cut into pieces.
    pub stored: u64,
}

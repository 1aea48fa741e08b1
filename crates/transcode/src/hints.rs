//! Hints about the compressor of a stream.

use super::member::HeaderParser;

/// Number of bytes of a stored block's header, if it starts at a byte: type, length, and length again.
const STORED_HEADER_BYTES: usize = 5;
/// Mask and value of the bits for the type of a block that starts at a byte (RFC 1951, 3.2.3).
const TYPE: (u8, u8) = (0b110, 0b000);

/// Hints about the compressor of a stream.
///
/// A transcoded frame inherits the compressor's search. If the compressor searched little, the frame is larger
/// than one of level 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// The first member's header says that the compressor was at its fastest (RFC 1952, 2.3.1: XFL is 4).
    pub is_fastest: bool,
    /// Number of bytes in the stored blocks with which the first member starts.
    pub stored: u64,
}

impl Hints {
    /// Reads the hints from the start of a stream. Damage gives no hints.
    pub fn read(start: &[u8]) -> Self {
        let mut header = HeaderParser::new();
        let Ok((used, true)) = header.parse(start) else { return Self::default() };
        let mut stored = 0;
        let mut rest = &start[used..];
        while let Some(&[first, low, high, ..]) = rest.first_chunk::<STORED_HEADER_BYTES>()
            && first & TYPE.0 == TYPE.1
        {
            let length = u16::from_le_bytes([low, high]);
            stored += u64::from(length);
            rest = rest.get(STORED_HEADER_BYTES + usize::from(length)..).unwrap_or_default();
        }
        Self { is_fastest: header.is_fastest(), stored }
    }
}

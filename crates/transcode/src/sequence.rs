//! Sequences: literals followed by a match.

/// A number of literals, and the match that follows them. A block is a list of sequences and the literals
/// after the last match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sequence {
    /// Number of literals before the match.
    pub(crate) literals: u32,
    /// Length of the match in bytes.
    pub(crate) length: u32,
    /// Distance of the match to its source in bytes, at least 1.
    pub(crate) offset: u32,
}

impl Sequence {
    /// Number of bytes that the sequence describes.
    pub(crate) fn total(self) -> usize {
        (self.literals + self.length) as usize
    }
}

//! Sequences: literals followed by a match.

use std::mem::offset_of;

use zstd_sys::ZSTD_Sequence;

/// A number of literals, and the match that follows them. A block is a list of sequences and a delimiter, which has
/// the literals after the last match, and no match. Its memory layout is that of zstd's type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Sequence {
    /// Distance of the match to its source in bytes, at least 1.
    pub(crate) offset: u32,
    /// Number of literals before the match.
    pub(crate) literals: u32,
    /// Length of the match in bytes.
    pub(crate) length: u32,
    /// zstd ignores it.
    rep: u32,
}

const _: () = assert!(
    size_of::<Sequence>() == size_of::<ZSTD_Sequence>()
        && align_of::<Sequence>() == align_of::<ZSTD_Sequence>()
        && offset_of!(Sequence, offset) == offset_of!(ZSTD_Sequence, offset)
        && offset_of!(Sequence, literals) == offset_of!(ZSTD_Sequence, litLength)
        && offset_of!(Sequence, length) == offset_of!(ZSTD_Sequence, matchLength)
        && offset_of!(Sequence, rep) == offset_of!(ZSTD_Sequence, rep)
);

impl Sequence {
    pub(crate) fn new(literals: u32, length: u32, offset: u32) -> Self {
        Self { offset, literals, length, rep: 0 }
    }

    /// The end of a block, with the literals after its last match.
    pub(crate) fn delimiter(literals: u32) -> Self {
        Self::new(literals, 0, 0)
    }
}

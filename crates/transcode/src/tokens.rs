//! Deflate's matches, as the inflater records them.

use super::limits::BLOCK_BYTES;

/// Shortest match of deflate and of zstd in bytes.
pub(crate) const MIN_MATCH: usize = 3;
/// Largest number of matches in a block.
pub(crate) const MAX_MATCHES: usize = BLOCK_BYTES / MIN_MATCH + 1;

/// A match of deflate, in one word: the index of its first byte (32 bits), its length (16 bits), its offset
/// (16 bits). The inflater's loop has no registers left for more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Token(u64);

impl Token {
    /// A match of `length` bytes at index `at` of the inflater's output.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the inflater's loop")]
    pub(crate) fn new(at: usize, length: usize, offset: usize) -> Self {
        Self(at as u64 | (length as u64) << 32 | (offset as u64) << 48)
    }

    /// Returns whether the match continues a match that ends at `at` and has the same offset. One comparison,
    /// because a jump on the index alone would be hard to predict.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the loop over all sequences")]
    pub(crate) fn continues(self, at: u32, offset: u32) -> bool {
        self.0 & !(0xffff << 32) == u64::from(at) | u64::from(offset) << 48
    }

    /// Index of the first byte.
    #[expect(clippy::cast_possible_truncation, reason = "takes the lower half")]
    pub(crate) fn at(self) -> u32 {
        self.0 as u32
    }

    /// Length in bytes.
    pub(crate) fn length(self) -> u32 {
        (self.0 >> 32) as u32 & 0xffff
    }

    /// Distance of the match to its source in bytes.
    pub(crate) fn offset(self) -> u32 {
        (self.0 >> 48) as u32
    }
}

/// The matches of the block in work.
pub(crate) struct Tokens {
    list: Box<[Token]>,
    count: usize,
}

impl Tokens {
    pub(crate) fn new() -> Self {
        Self { list: vec![Token::default(); MAX_MATCHES].into(), count: 0 }
    }

    /// Starts a block.
    pub(crate) fn start_block(&mut self) {
        self.count = 0;
    }

    /// The block's matches.
    pub(crate) fn block(&mut self) -> &[Token] {
        #[cfg(test)]
        super::sabotage::strike(super::sabotage::Stage::Tokens, &mut self.list[..self.count]);
        &self.list[..self.count]
    }

    /// The list and the number of matches in it, for the inflater.
    pub(crate) fn parts(&mut self) -> (&mut [Token], &mut usize) {
        (&mut self.list, &mut self.count)
    }
}

//! Records deflate's matches as sequences.

use super::sequence::Sequence;
use super::window::BLOCK_BYTES;

/// Shortest match of deflate and of zstd in bytes.
pub(crate) const MIN_MATCH: usize = 3;
/// Largest offset at which a match of three bytes pays: farther ones need more bits than three literals.
const MAX_SHORT_OFFSET: u32 = 1024;
/// Largest number of sequences in a block.
pub(crate) const MAX_SEQUENCES: usize = BLOCK_BYTES / MIN_MATCH + 1;

/// The sequences of the block in work.
pub(crate) struct Tokens {
    /// Behind a first one without bytes, so that each has a predecessor.
    sequences: Box<[Sequence]>,
    count: usize,
    /// Index of the first literal behind the last match.
    literals: usize,
}

impl Tokens {
    pub(crate) fn new() -> Self {
        Self { sequences: vec![Sequence::default(); MAX_SEQUENCES + 2].into(), count: 1, literals: 0 }
    }

    /// Starts a block at index `start` of the window.
    pub(crate) fn start_block(&mut self, start: usize) {
        (self.count, self.literals) = (1, start);
    }

    /// The block's sequences.
    pub(crate) fn block(&mut self) -> &[Sequence] {
        #[cfg(test)]
        super::sabotage::strike(super::sabotage::Stage::Tokens, &mut self.sequences[1..self.count]);
        &self.sequences[1..self.count]
    }

    /// A writer whose variables can stay in registers.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the inflater's loop")]
    pub(crate) fn writer(&mut self) -> TokenWriter<'_> {
        let Self { sequences, count, literals } = self;
        TokenWriter { sequences, count: *count, literals: *literals }
    }

    /// Takes the variables of a writer back.
    pub(crate) fn set(&mut self, (count, literals): (usize, usize)) {
        (self.count, self.literals) = (count, literals);
    }
}

/// Appends sequences to [`Tokens`].
pub(crate) struct TokenWriter<'a> {
    sequences: &'a mut [Sequence],
    count: usize,
    literals: usize,
}

impl TokenWriter<'_> {
    /// Records a match of `length` bytes at index `at`. Neighbouring matches of one offset become one, because
    /// deflate's longest match has 258 bytes. A match that doesn't pay becomes literals.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the inflater's loop")]
    #[expect(clippy::cast_possible_truncation, reason = "a block has 128 KiB, so that lengths fit")]
    pub(crate) fn push(&mut self, at: usize, length: usize, offset: u32) {
        let literals = (at - self.literals) as u32;
        let last = &mut self.sequences[self.count - 1];
        if literals == 0 && offset == last.offset {
            last.length += length as u32;
            self.literals = at + length;
            return;
        }
        // No jump depends on whether the match pays: the processor couldn't predict it.
        let pays = length > MIN_MATCH || offset <= MAX_SHORT_OFFSET;
        self.sequences[self.count] = Sequence { literals, length: length as u32, offset };
        self.count += usize::from(pays);
        self.literals = if pays { at + length } else { self.literals };
    }

    /// The variables for [`Tokens::set`].
    pub(crate) fn variables(self) -> (usize, usize) {
        (self.count, self.literals)
    }
}

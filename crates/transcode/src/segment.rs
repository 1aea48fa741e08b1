//! Segments: three blocks, 3/8 MiB, or fewer, that zstd encodes in one call. Every sequence is compared with the
//! plain bytes first.

use super::assumed::{self, find_assumed};
use super::block::Block;
use super::error::Fault;
use super::limits::BLOCK_BYTES;
use super::sequence::Sequence;
use super::tokens::{MAX_MATCHES, MIN_MATCH};
use super::window::Window;

/// Plain bytes from which a segment is full. Blocks are never quite full, so that the third one fills it.
const FULL_BYTES: usize = 256 << 10;
/// Sequences from which a segment is full. Limits memory: a sequence of zstd's interface has 16 bytes.
const FULL_SEQUENCES: usize = 16 << 10;
/// Largest number of plain bytes of a segment.
pub(crate) const MAX_BYTES: usize = FULL_BYTES + BLOCK_BYTES;

/// Sequences of neighbouring blocks.
pub(crate) struct Segment {
    /// Position of the first plain byte.
    start: u64,
    /// Number of plain bytes.
    length: usize,
    /// Checked sequences. Each block ends with a delimiter, whose offset and match length are zero.
    sequences: Vec<Sequence>,
}

/// A segment's sequences and plain bytes, which fit each other.
#[derive(Clone, Copy)]
pub(crate) struct CheckedSegment<'a> {
    sequences: &'a [Sequence],
    plain: &'a [u8],
}

impl CheckedSegment<'_> {
    pub(crate) fn sequences(&self) -> &[Sequence] {
        self.sequences
    }

    pub(crate) fn plain(&self) -> &[u8] {
        self.plain
    }
}

impl Segment {
    pub(crate) fn new() -> Self {
        let sequences = Vec::with_capacity(FULL_SEQUENCES + MAX_MATCHES + 1);
        Self { start: 0, length: 0, sequences }
    }

    /// Position of the first plain byte.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.length >= FULL_BYTES || self.sequences.len() >= FULL_SEQUENCES
    }

    /// Starts an empty segment behind this one.
    pub(crate) fn start_next(&mut self) {
        self.start += self.length as u64;
        self.length = 0;
        self.sequences.clear();
    }

    /// The sequences, and their number, to which those of the next block are appended.
    pub(crate) fn sequences(&mut self) -> (&mut Vec<Sequence>, usize) {
        let count = self.sequences.len();
        (&mut self.sequences, count)
    }

    /// Adds a block whose bytes are at the window's end, and whose sequences are in the list from number `first` on.
    /// `literals` is the index of the first literal behind the last match. Fails if a sequence doesn't fit the plain
    /// bytes.
    #[expect(clippy::cast_possible_truncation, reason = "a block has 128 KiB")]
    pub(crate) fn end_block(&mut self, block: Block<'_>, first: usize, literals: usize) -> Result<(), Fault> {
        let mut tail = block.end.saturating_sub(literals) as u32;
        #[cfg(test)]
        super::sabotage::strike(super::sabotage::Stage::Far, &mut self.sequences[first..]);
        #[cfg(test)]
        let is_broken = super::sabotage::is_broken(super::sabotage::Stage::Assumed);
        #[cfg(not(test))]
        let is_broken = false;
        if !is_broken {
            tail += assumed::avoid(&mut self.sequences, first);
        }
        #[cfg(test)]
        super::sabotage::strike(super::sabotage::Stage::Block, &mut self.sequences[first..]);
        check(block, &self.sequences[first..], tail as usize)?;
        self.sequences.push(Sequence::delimiter(tail));
        self.length += block.end - block.start;
        Ok(())
    }

    /// The sequences with their plain bytes.
    pub(crate) fn checked<'a>(&'a self, window: &'a Window) -> Option<CheckedSegment<'a>> {
        let plain = window.since(self.start).get(..self.length)?;
        Some(CheckedSegment { sequences: &self.sequences, plain })
    }
}

/// Checks that the sequences and the literals behind them describe exactly the block's bytes.
fn check(block: Block<'_>, sequences: &[Sequence], tail: usize) -> Result<(), Fault> {
    let Block { start, end, .. } = block;
    let mut at = start;
    for (number, sequence) in sequences.iter().enumerate() {
        let (offset, length) = (sequence.offset as usize, sequence.length as usize);
        at += sequence.literals as usize;
        let is_match = length >= MIN_MATCH
            && at <= end
            && length <= end - at
            && (1..=block.max_offset(at)).contains(&offset)
            && block.is_match(at, offset, length);
        if !is_match {
            return Err(Fault::Match { sequence: number });
        }
        at += length;
    }
    if let Some(sequence) = find_assumed(sequences) {
        return Err(Fault::AssumedOffset { sequence });
    }
    if at + tail == end {
        Ok(())
    } else {
        Err(Fault::Length { described: at + tail - start, expected: end - start })
    }
}

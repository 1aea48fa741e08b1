//! Offsets that zstd assumes at a segment's start.
//!
//! zstd encodes each segment as if it were a frame of its own, and may write an offset as "the offset used
//! last, last but one, or last but two". A frame starts with 1, 4 and 8 in these places (RFC 8878, 3.1.1.5).
//! In the written frame, a segment follows another one, whose offsets are in these places. Therefore the first
//! matches of a segment must not have these three offsets, until three other ones have replaced them.

use super::sequence::Sequence;

/// The offsets at a frame's start.
const INITIAL: [u32; 3] = [1, 4, 8];
/// Multiple of an initial offset that is none itself. A match that repeats bytes after 1, 4 or 8 bytes also
/// repeats them after three times as many.
const MULTIPLE: u32 = 3;
/// Shortest match that gets a multiple of its offset. A shorter one becomes literals.
const MIN_LENGTH: u32 = 64;

/// The offsets that have replaced the initial ones.
#[derive(Default)]
pub(crate) struct AssumedOffsets {
    replaced: [u32; INITIAL.len()],
    count: usize,
}

impl AssumedOffsets {
    /// Changes a block's sequences so that none needs an offset that zstd assumes wrongly. `tail` is the number
    /// of literals behind them.
    pub(crate) fn avoid(&mut self, sequences: &mut Vec<Sequence>, tail: &mut u32) {
        if self.count == INITIAL.len() {
            return;
        }
        let mut literals = 0;
        sequences.retain_mut(|sequence| {
            sequence.literals += literals;
            literals = 0;
            if self.count == INITIAL.len() || self.accept(sequence) {
                return true;
            }
            literals = sequence.literals + sequence.length;
            false
        });
        *tail += literals;
    }

    /// Whether the sequence can be encoded. A long one may get another offset.
    fn accept(&mut self, sequence: &mut Sequence) -> bool {
        if INITIAL.contains(&sequence.offset) {
            let distance = (MULTIPLE - 1) * sequence.offset;
            if sequence.length < MIN_LENGTH {
                return false;
            }
            sequence.literals += distance;
            sequence.length -= distance;
            sequence.offset *= MULTIPLE;
        }
        if !self.replaced[..self.count].contains(&sequence.offset) {
            self.replaced[self.count] = sequence.offset;
            self.count += 1;
        }
        true
    }
}

//! Offsets that zstd assumes at a segment's start.
//!
//! zstd encodes each segment as if it were a frame of its own, and may write an offset as "the offset used
//! last, last but one, or last but two". A frame starts with 1, 4 and 8 in these places (RFC 8878, 3.1.1.5).
//! In the written frame, a segment follows another one, whose offsets are in these places. Therefore the first
//! matches must not have these three offsets, until three other ones have replaced them.
//!
//! This holds for each block: zstd forgets the offsets of a block that it leaves uncompressed, and decides that
//! afterwards.

use super::sequence::Sequence;

/// The offsets at a frame's start.
const INITIAL: [u32; 3] = [1, 4, 8];
/// Multiple of an initial offset that is none itself. A match that repeats bytes after 1, 4 or 8 bytes also
/// repeats them after three times as many.
const MULTIPLE: u32 = 3;
/// Shortest match that gets a multiple of its offset. A shorter one becomes literals.
const MIN_LENGTH: u32 = 64;

/// Offsets that have occurred in a block. Each has replaced an initial one.
#[derive(Default)]
struct Seen {
    offsets: [u32; INITIAL.len()],
    count: usize,
}

impl Seen {
    /// Returns whether no initial offset is left.
    fn is_complete(&self) -> bool {
        self.count == INITIAL.len()
    }

    fn add(&mut self, offset: u32) {
        if !self.is_complete() && !self.offsets[..self.count].contains(&offset) {
            self.offsets[self.count] = offset;
            self.count += 1;
        }
    }
}

/// Changes a block's sequences, which start at number `first`, so that none needs an offset that zstd assumes.
/// Returns the number of literals that the sequences lost at their end.
pub(crate) fn avoid(sequences: &mut Vec<Sequence>, first: usize) -> u32 {
    let (mut seen, mut literals, mut first_kept) = (Seen::default(), 0, first);
    let mut kept = first;
    while !seen.is_complete()
        && let Some(sequence) = sequences.get(first_kept)
    {
        let mut sequence = *sequence;
        sequence.literals += literals;
        literals = 0;
        first_kept += 1;
        if INITIAL.contains(&sequence.offset) && !use_multiple(&mut sequence) {
            literals = sequence.literals + sequence.length;
            continue;
        }
        seen.add(sequence.offset);
        sequences[kept] = sequence;
        kept += 1;
    }
    sequences.drain(kept..first_kept);
    literals
}

/// Gives a long match another offset.
fn use_multiple(sequence: &mut Sequence) -> bool {
    let distance = (MULTIPLE - 1) * sequence.offset;
    if sequence.length < MIN_LENGTH {
        return false;
    }
    sequence.literals += distance;
    sequence.length -= distance;
    sequence.offset *= MULTIPLE;
    true
}

/// Number of the first sequence of a block whose offset zstd could take for one that it assumes. Checks the result
/// of [`avoid`] on the sequences that zstd gets.
pub(crate) fn find_assumed(sequences: &[Sequence]) -> Option<usize> {
    let mut seen = Seen::default();
    for (number, sequence) in sequences.iter().enumerate() {
        if seen.is_complete() {
            return None;
        }
        if INITIAL.contains(&sequence.offset) {
            return Some(number);
        }
        seen.add(sequence.offset);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(offsets: &[(u32, u32)]) -> Vec<Sequence> {
        offsets.iter().map(|(offset, length)| Sequence::new(1, *length, *offset)).collect()
    }

    #[test]
    fn initial_offsets_are_avoided_until_three_others_occurred() {
        let mut sequences = list(&[(4, 10), (9, 5), (9, 5), (8, 100), (1, 63), (7, 5), (1, 9), (4, 9)]);
        assert_eq!(avoid(&mut sequences, 0), 0);
        let sequence = Sequence::new;
        let expected = [
            sequence(12, 5, 9),
            sequence(1, 5, 9),
            sequence(17, 84, 24),
            sequence(65, 5, 7),
            sequence(1, 9, 1),
            sequence(1, 9, 4),
        ];
        assert_eq!(sequences, expected);
    }

    #[test]
    fn matches_at_the_end_become_literals() {
        let mut sequences = list(&[(20, 4), (8, 10), (1, 5)]);
        assert_eq!(avoid(&mut sequences, 0), 17);
        assert_eq!(sequences, list(&[(20, 4)]));
        assert_eq!(avoid(&mut Vec::new(), 0), 0);
    }

    #[test]
    fn assumed_offset_is_found() {
        let with = |offsets: &[u32]| {
            let sequence = |offset: &u32| Sequence::new(1, 3, *offset);
            find_assumed(&offsets.iter().map(sequence).collect::<Vec<_>>())
        };
        assert_eq!(with(&[]), None);
        assert_eq!(with(&[4]), Some(0));
        assert_eq!(with(&[9, 9, 10, 8]), Some(3));
        assert_eq!(with(&[9, 10, 11, 8]), None);
    }
}

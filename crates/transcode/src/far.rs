//! Matches farther away than deflate's 32 KiB.
//!
//! The matcher looks only where a sequence starts: deflate's own matches end there, so that a repetition of a
//! longer text starts there, too. Long runs of literals have more such places. A table holds the last position of
//! each hash of 16 bytes. A far match replaces the sequences that it covers.

use std::ops::Range;

use super::bytes::{common_length, is_equal, load};
use super::sequence::Sequence;
use super::tokens::MIN_MATCH;
use super::window::WINDOW_BYTES;

/// Binary logarithm of the table's entries. Half as many make the output 0.6 % larger and save 1 to 2 % of time.
const TABLE_LOG: u32 = 18;
/// Shortest run of literals that is looked at not only at its start.
const LONG_RUN: usize = 64;
/// Bytes that mark the places in a long run that are looked at: one in 32 of bytes without a pattern, as
/// compressed files have them.
const RUN_MASK: u8 = 0b1_1111;
const RUN_MARK: u8 = 0b0_0111;
/// Number of bytes that are hashed, and the shortest far match from the table.
const HASHED_BYTES: usize = 16;
/// Shortest far match that is used.
const MIN_FAR: usize = 24;
/// A far match must be so many bytes longer than deflate's match at its place, because its offset costs more.
const MIN_GAIN: usize = 8;
/// Number of sequences after a far match at which its offset is tried again.
const RETRIES: u32 = 8;
/// Bytes that a match with the previous far offset must gain.
const MIN_RETRY_GAIN: usize = 2;
/// A rest of a sequence behind a far match that is shorter becomes literals.
const MIN_REST: usize = 5;
/// Bits of a position that the table holds. Twice the window, so that few old positions look like new ones; the
/// comparison of bytes removes those.
const POSITION: u32 = (1 << 24) - 1;
/// Bytes at a block's end where no far match starts.
const TAIL_BYTES: usize = 24;

/// A place whose bytes may have occurred before.
#[derive(Clone, Copy)]
struct Anchor {
    /// Index in the window.
    at: u32,
    /// Number of the sequence that the place belongs to.
    sequence: u32,
    /// Number of the table's entry.
    slot: u32,
    /// More bits of the hash, in the upper byte.
    tag: u32,
}

/// A place whose bytes occurred before.
#[derive(Clone, Copy)]
struct Candidate {
    /// Index in the window.
    at: usize,
    /// Number of the sequence that the place belongs to.
    sequence: usize,
    offset: usize,
}

/// A far match at the start of a sequence.
#[derive(Clone, Copy)]
struct Hit {
    length: usize,
    offset: usize,
}

/// The matcher.
pub(crate) struct FarMatcher {
    /// The last 16 bytes of each hash: eight more bits of their hash, and the lowest 24 bits of their position.
    table: Box<[u32]>,
    anchors: Vec<Anchor>,
    candidates: Vec<Candidate>,
}

/// A block of plain bytes.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    /// The window's buffer.
    pub(crate) bytes: &'a [u8],
    /// Position of the buffer's first byte.
    pub(crate) base: u64,
    /// Index of the oldest byte that a match may refer to.
    pub(crate) oldest: usize,
    /// Index of the block's first byte.
    pub(crate) start: usize,
    /// Index behind the block's last byte.
    pub(crate) end: usize,
}

impl FarMatcher {
    pub(crate) fn new() -> Self {
        Self { table: vec![0; 1 << TABLE_LOG].into(), anchors: Vec::new(), candidates: Vec::new() }
    }

    /// Appends the sequences of a block to `out`, with far matches where they pay. Returns the index of the
    /// first literal behind the last sequence.
    pub(crate) fn rewrite(
        &mut self,
        block: Block<'_>,
        sequences: &[Sequence],
        out: &mut Vec<Sequence>,
    ) -> usize {
        self.find_anchors(block, sequences);
        self.find_candidates(block);
        let mut rewriter = Rewriter::new(block, sequences, out);
        for candidate in &self.candidates {
            if candidate.at < rewriter.at {
                continue;
            }
            rewriter.retry_until(candidate.sequence);
            if candidate.at < rewriter.at {
                continue;
            }
            rewriter.copy_until(candidate.sequence);
            rewriter.pass_literals(candidate.at);
            if let Some(hit) = rewriter.far_match(candidate.offset) {
                rewriter.replace(hit);
            }
        }
        rewriter.retry_until(usize::MAX);
        rewriter.finish()
    }

    /// Collects the places where sequences start, and some places in long runs of literals, with the hash of the
    /// bytes there.
    fn find_anchors(&mut self, block: Block<'_>, sequences: &[Sequence]) {
        self.anchors.clear();
        let last = block.end.saturating_sub(TAIL_BYTES);
        let mut at = block.start;
        for (number, sequence) in sequences.iter().enumerate() {
            if at >= last {
                return;
            }
            self.add_anchor(block.bytes, at, number);
            let literals = sequence.literals as usize;
            if literals >= LONG_RUN {
                self.add_anchors_in_run(block.bytes, at..(at + literals).min(last), number);
            }
            at += sequence.total();
        }
        self.add_anchors_in_run(block.bytes, at..last, sequences.len());
    }

    /// Adds the anchors of a run of literals. The bytes choose the places, so that a repetition has the same ones.
    fn add_anchors_in_run(&mut self, bytes: &[u8], run: Range<usize>, number: usize) {
        let Some(literals) = bytes.get(run.clone()) else { return };
        for (distance, literal) in literals.iter().enumerate().skip(1) {
            if literal & RUN_MASK == RUN_MARK {
                self.add_anchor(bytes, run.start + distance, number);
            }
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the loop over all sequences")]
    #[expect(clippy::cast_possible_truncation, reason = "the window has fewer than 2^32 bytes")]
    fn add_anchor(&mut self, bytes: &[u8], at: usize, number: usize) {
        let (Some(first), Some(second)) = (load(bytes, at), load(bytes, at + 8)) else { return };
        let hash = hash(first, second);
        let slot = hash >> (64 - TABLE_LOG);
        prefetch(&self.table, slot as usize);
        let tag = (hash as u32) & !POSITION;
        self.anchors.push(Anchor { at: at as u32, sequence: number as u32, slot: slot as u32, tag });
    }

    /// Looks up every anchor and enters it into the table. Keeps those whose bytes really occurred before.
    #[expect(clippy::cast_possible_truncation, reason = "the table holds the lowest bits of positions")]
    fn find_candidates(&mut self, block: Block<'_>) {
        self.candidates.clear();
        for anchor in &self.anchors {
            let at = anchor.at as usize;
            let Some(entry) = self.table.get_mut(anchor.slot as usize) else { continue };
            let position = (block.base + at as u64) as u32 & POSITION;
            let earlier = std::mem::replace(entry, anchor.tag | position);
            let offset = (position.wrapping_sub(earlier) & POSITION) as usize;
            if (earlier ^ anchor.tag) & !POSITION == 0
                && (1..=WINDOW_BYTES.min(at - block.oldest)).contains(&offset)
            {
                prefetch(block.bytes, at - offset);
                self.candidates.push(Candidate { at, sequence: anchor.sequence as usize, offset });
            }
        }
        self.candidates.retain(|candidate| {
            is_equal(block.bytes, candidate.at - candidate.offset, candidate.at, HASHED_BYTES)
        });
    }
}

/// Asks the processor to load an element that is used soon.
#[inline]
#[expect(unsafe_code, reason = "the instruction takes a pointer")]
fn prefetch<T>(list: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction reads nothing that the program could notice, and never fails.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(list.as_ptr().wrapping_add(index).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (list, index);
}

/// Hashes 16 bytes.
fn hash(first: u64, second: u64) -> u64 {
    let mixed = (first ^ second.rotate_left(29).wrapping_mul(0xC2B2_AE3D_27D4_EB4F))
        .wrapping_mul(0x9E37_79B1_85EB_CA87);
    mixed ^ (mixed >> 32)
}

/// Copies a block's sequences and replaces those that far matches cover.
struct Rewriter<'a> {
    block: Block<'a>,
    sequences: &'a [Sequence],
    out: &'a mut Vec<Sequence>,
    /// Index where the rest of the current sequence starts.
    at: usize,
    /// Index of the first literal that isn't written. Before `at` if a rest became literals.
    literals: usize,
    /// Number of the current sequence.
    number: usize,
    /// The rest of the current sequence. Behind the last one, the block's last literals.
    current: Sequence,
    /// Offset of the last far match, and the number of sequences at which it is still tried.
    last_offset: usize,
    retries: u32,
}

impl<'a> Rewriter<'a> {
    fn new(block: Block<'a>, sequences: &'a [Sequence], out: &'a mut Vec<Sequence>) -> Self {
        let start = block.start;
        let mut rewriter = Self {
            block,
            sequences,
            out,
            at: start,
            literals: start,
            number: 0,
            current: Sequence::default(),
            last_offset: 0,
            retries: 0,
        };
        rewriter.load_current();
        rewriter
    }

    fn is_behind_last(&self) -> bool {
        self.number >= self.sequences.len()
    }

    /// Loads the current sequence, or the last literals.
    #[expect(clippy::cast_possible_truncation, reason = "a block has 128 KiB")]
    fn load_current(&mut self) {
        self.current = self.sequences.get(self.number).copied().unwrap_or_else(|| Sequence {
            literals: (self.block.end - self.at) as u32,
            ..Sequence::default()
        });
    }

    fn next(&mut self) {
        self.number += 1;
        self.load_current();
    }

    /// Writes a match of the block. Its literals start where the last match ended.
    #[expect(clippy::cast_possible_truncation, reason = "a block has 128 KiB, the window 8 MiB")]
    fn write(&mut self, start: usize, length: usize, offset: usize) {
        let literals = (start - self.literals) as u32;
        self.out.push(Sequence { literals, length: length as u32, offset: offset as u32 });
        self.literals = start + length;
    }

    /// Copies the current sequence.
    fn copy(&mut self) {
        let start = self.at + self.current.literals as usize;
        self.write(start, self.current.length as usize, self.current.offset as usize);
        self.at = self.literals;
        self.next();
    }

    /// Copies the sequences before `number`.
    fn copy_until(&mut self, number: usize) {
        let number = number.min(self.sequences.len());
        if self.number >= number {
            return;
        }
        // The first one may follow literals that a far match left.
        self.copy();
        let copied = &self.sequences[self.number.min(number)..number];
        self.out.extend_from_slice(copied);
        self.at += copied.iter().map(|sequence| sequence.total()).sum::<usize>();
        self.literals = self.at;
        self.number = number;
        self.load_current();
    }

    /// Moves to index `at`, over literals of the current sequence that were the rest of a match.
    #[expect(clippy::cast_possible_truncation, reason = "a block has 128 KiB")]
    fn pass_literals(&mut self, at: usize) {
        self.current.literals -= (at - self.at) as u32;
        self.at = at;
    }

    /// Tries the offset of the last far match at the next sequences before `number`.
    fn retry_until(&mut self, number: usize) {
        let last = self.block.end.saturating_sub(TAIL_BYTES);
        while self.retries > 0 && self.number < number && !self.is_behind_last() && self.at < last {
            self.retries -= 1;
            match self.retry_match() {
                Some(hit) => self.replace(hit),
                None => self.copy(),
            }
        }
    }

    /// The match with the last far match's offset, if it gains.
    fn retry_match(&self) -> Option<Hit> {
        let Block { bytes, oldest, end, .. } = self.block;
        let from = self.at.checked_sub(self.last_offset).filter(|from| *from >= oldest)?;
        if load(bytes, from)? != load(bytes, self.at)? {
            return None;
        }
        let length = common_length(bytes, from, self.at, end);
        let Sequence { literals, length: own, .. } = self.current;
        let replaced = if literals > 0 { literals + own.min(6) } else { own } as usize;
        (length > replaced + MIN_RETRY_GAIN).then_some(Hit { length, offset: self.last_offset })
    }

    /// The match of a candidate, if it gains.
    fn far_match(&self, offset: usize) -> Option<Hit> {
        let Block { bytes, end, .. } = self.block;
        let from = self.at - offset + HASHED_BYTES;
        let length = HASHED_BYTES + common_length(bytes, from, self.at + HASHED_BYTES, end);
        let own = if self.current.literals > 0 { 0 } else { self.current.length as usize };
        (length >= MIN_FAR && length > own + MIN_GAIN).then_some(Hit { length, offset })
    }

    /// Writes a far match, extended into the literals before it, and drops the sequences that it covers.
    fn replace(&mut self, hit: Hit) {
        let Block { bytes, oldest, .. } = self.block;
        let Hit { length, offset } = hit;
        let mut start = self.at;
        while start > self.literals
            && start - offset > oldest
            && bytes[start - 1] == bytes[start - offset - 1]
        {
            start -= 1;
        }
        let end = self.at + length;
        self.write(start, end - start, offset);
        (self.last_offset, self.retries) = (offset, RETRIES);
        self.skip_until(end);
    }

    /// Drops sequences and parts of them before index `end`.
    #[expect(clippy::cast_possible_truncation, reason = "a block has 128 KiB")]
    fn skip_until(&mut self, end: usize) {
        loop {
            let match_start = self.at + self.current.literals as usize;
            let match_end = match_start + self.current.length as usize;
            if end <= match_start {
                self.current.literals = (match_start - end) as u32;
                self.at = end;
                return;
            }
            if end < match_end {
                let rest = match_end - end;
                if rest >= MIN_REST.max(MIN_MATCH) {
                    (self.current.literals, self.current.length) = (0, rest as u32);
                } else {
                    self.at = match_end;
                    self.next();
                    self.current.literals += rest as u32;
                }
                self.at = end;
                return;
            }
            self.at = match_end;
            self.next();
            if self.at >= end {
                return;
            }
        }
    }

    /// Copies the rest, and returns the index of the first literal behind the last match.
    fn finish(mut self) -> usize {
        self.copy_until(usize::MAX);
        self.literals
    }
}

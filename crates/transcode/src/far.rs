//! Matches farther away than deflate's 32 KiB.
//!
//! The matcher looks only where a sequence starts: deflate's own matches end there, so that a repetition of a
//! longer text starts there, too. Long runs of literals have more such places. A table holds the last position of
//! each hash of 16 bytes. A far match replaces the sequences that it covers.

use super::anchors::Anchors;
use super::block::Block;
use super::bytes::load;
use super::sequence::Sequence;
use super::tokens::{MAX_MATCHES, MIN_MATCH, Token};

/// Largest offset at which a match of three bytes pays: farther ones need more bits than three literals.
const MAX_SHORT_OFFSET: u32 = 1024;

/// Shortest run of literals that is looked at not only at its start.
const LONG_RUN: usize = 64;
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
/// Bytes at a block's end where no far match starts.
const TAIL_BYTES: usize = 24;

/// A far match at the start of a sequence.
#[derive(Clone, Copy)]
struct Hit {
    length: usize,
    offset: usize,
}

/// The matcher.
pub(crate) struct FarMatcher {
    anchors: Anchors,
    /// Sequences of deflate's matches, behind a first one without bytes, so that each has a predecessor.
    sequences: Box<[Sequence]>,
}

impl FarMatcher {
    pub(crate) fn new() -> Self {
        Self { anchors: Anchors::new(), sequences: vec![Sequence::default(); MAX_MATCHES + 1].into() }
    }

    /// Appends the sequences of a block to `out`, with far matches where they pay. `first` is the index of the
    /// block's first byte in the inflater's output. Returns the index of the first literal behind the last
    /// sequence.
    pub(crate) fn rewrite(
        &mut self,
        block: Block<'_>,
        tokens: &[Token],
        first: usize,
        out: &mut Vec<Sequence>,
    ) -> usize {
        let (count, end) = self.expand(block, tokens, first);
        self.find_anchors(block, count, end);
        let mut rewriter = Rewriter::new(block, &self.sequences[1..count], end, out);
        for candidate in self.anchors.candidates(block) {
            let (at, sequence) = (candidate.at as usize, candidate.sequence as usize);
            if at < rewriter.at {
                continue;
            }
            rewriter.retry_until(sequence);
            if at < rewriter.at {
                continue;
            }
            rewriter.copy_until(sequence, candidate.start as usize);
            rewriter.pass_literals(at);
            if let Some(hit) = rewriter.far_match(candidate.offset as usize) {
                rewriter.replace(hit);
            }
        }
        rewriter.retry_until(usize::MAX);
        rewriter.finish()
    }

    /// Makes sequences of deflate's matches. Neighbouring matches of one offset become one, because deflate's
    /// longest match has 258 bytes. A match that doesn't pay becomes literals. Returns the number of sequences and
    /// the index behind the last one.
    #[expect(clippy::cast_possible_truncation, reason = "the window has fewer than 2^32 bytes")]
    #[inline(never)]
    fn expand(&mut self, block: Block<'_>, tokens: &[Token], first: usize) -> (usize, usize) {
        let sequences = &mut self.sequences[..];
        let first = first as u32;
        let (mut count, mut end) = (1, first);
        let mut last_offset = 0;
        for token in tokens {
            let (at, length, offset) = (token.at(), token.length(), token.offset());
            if token.continues(end, last_offset) {
                if let Some(sequence) = sequences.get_mut(count - 1) {
                    sequence.length += length;
                }
                end = at + length;
                continue;
            }
            if let Some(sequence) = sequences.get_mut(count) {
                *sequence = Sequence::new(at - end, length, offset);
            }
            // No jump depends on whether the match pays: the processor couldn't predict it.
            let pays = length as usize > MIN_MATCH || offset <= MAX_SHORT_OFFSET;
            count += usize::from(pays);
            last_offset = if pays { offset } else { last_offset };
            end = if pays { at + length } else { end };
        }
        (count, block.start + (end - first) as usize)
    }

    /// Makes anchors of the places where sequences start, and of some places in long runs of literals. `end` is the
    /// index behind the last sequence.
    fn find_anchors(&mut self, block: Block<'_>, count: usize, end: usize) {
        let last = block.end.saturating_sub(TAIL_BYTES);
        self.anchors.clear();
        let mut at = block.start;
        for (number, sequence) in self.sequences[1..count].iter().enumerate() {
            if at >= last {
                return;
            }
            self.anchors.add(block.bytes, at, number);
            let literals = sequence.literals as usize;
            if literals >= LONG_RUN {
                self.anchors.add_in_run(block.bytes, at..(at + literals).min(last), number);
            }
            at += literals + sequence.length as usize;
        }
        self.anchors.add_in_run(block.bytes, end..last, count - 1);
    }
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
    /// Index behind the last sequence.
    end: usize,
}

impl<'a> Rewriter<'a> {
    fn new(block: Block<'a>, sequences: &'a [Sequence], end: usize, out: &'a mut Vec<Sequence>) -> Self {
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
            end,
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
        self.current = self
            .sequences
            .get(self.number)
            .copied()
            .unwrap_or_else(|| Sequence::delimiter((self.block.end - self.at) as u32));
    }

    fn next(&mut self) {
        self.number += 1;
        self.load_current();
    }

    /// Writes a match of the block. Its literals start where the last match ended.
    #[expect(clippy::cast_possible_truncation, reason = "a block has 128 KiB, the window 8 MiB")]
    fn write(&mut self, start: usize, length: usize, offset: usize) {
        let literals = (start - self.literals) as u32;
        self.out.push(Sequence::new(literals, length as u32, offset as u32));
        self.literals = start + length;
    }

    /// Copies the current sequence.
    fn copy(&mut self) {
        let start = self.at + self.current.literals as usize;
        self.write(start, self.current.length as usize, self.current.offset as usize);
        self.at = self.literals;
        self.next();
    }

    /// Copies the sequences before `number`, which starts at index `start`.
    fn copy_until(&mut self, number: usize, start: usize) {
        if self.number >= number {
            return;
        }
        // The first one may follow literals that a far match left.
        self.copy();
        if self.number < number {
            self.out.extend_from_slice(&self.sequences[self.number..number]);
            (self.at, self.literals, self.number) = (start, start, number);
            self.load_current();
        }
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
        let source = self.block.source(self.at, self.last_offset);
        if load(self.block.bytes, source.at)? != load(self.block.bytes, self.at)? {
            return None;
        }
        let length = self.block.common_length(self.at, source);
        let Sequence { literals, length: own, .. } = self.current;
        let replaced = if literals > 0 { literals + own.min(6) } else { own } as usize;
        (length > replaced + MIN_RETRY_GAIN).then_some(Hit { length, offset: self.last_offset })
    }

    /// The match of a candidate, if it gains.
    fn far_match(&self, offset: usize) -> Option<Hit> {
        let length = self.block.common_length(self.at, self.block.source(self.at, offset));
        let own = if self.current.literals > 0 { 0 } else { self.current.length as usize };
        (length >= MIN_FAR && length > own + MIN_GAIN).then_some(Hit { length, offset })
    }

    /// Writes a far match, extended into the literals before it, and drops the sequences that it covers.
    fn replace(&mut self, hit: Hit) {
        let Hit { length, offset } = hit;
        let bytes = self.block.bytes;
        let (mut start, mut source) = (self.at, self.block.source(self.at, offset));
        while start > self.literals && source.at > source.first && bytes[start - 1] == bytes[source.at - 1] {
            (start, source.at) = (start - 1, source.at - 1);
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
        self.copy_until(self.sequences.len(), self.end);
        self.literals
    }
}

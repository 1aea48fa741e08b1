//! Places where a far match may start, and the table of earlier ones.

use std::ops::Range;

use super::block::Block;
use super::bytes::load;
use super::tokens::MAX_MATCHES;

/// Binary logarithm of the table's entries. Half as many save no time.
const TABLE_LOG: u32 = 18;
/// Bytes that mark the places in a long run that are looked at: one in 32 of bytes without a pattern, as
/// compressed files have them.
const RUN_MASK: u8 = 0b1_1111;
const RUN_MARK: u8 = 0b0_0111;
/// Number of bytes that are hashed, and the shortest far match from the table.
pub(crate) const HASHED_BYTES: usize = 16;
/// Bits of a position that the table holds. Twice the window, so that few old positions look like new ones; the
/// comparison of bytes removes those.
const POSITION: u32 = (1 << 24) - 1;

/// Bit of the hash that is zero at the places that are looked at. The bytes choose half of the places, so that a
/// repetition has the same ones.
const SAMPLE: u32 = 1 << 8;
/// Number of anchors between the request for an entry of the table and its use.
const PREFETCH_DISTANCE: usize = 24;

/// A place whose bytes may have occurred before.
#[derive(Clone, Copy, Default)]
struct Anchor {
    /// Index in the window.
    at: u32,
    /// Number of the sequence that the place belongs to.
    sequence: u32,
    /// Index of the first byte of that sequence.
    start: u32,
    /// Hash of the bytes. The upper bits are the number of the table's entry, the lowest 8 bits are in the entry.
    hash: u32,
}

/// A place whose bytes occurred before.
#[derive(Clone, Copy)]
pub(crate) struct Candidate {
    /// Index in the window.
    pub(crate) at: u32,
    /// Number of the sequence that the place belongs to.
    pub(crate) sequence: u32,
    /// Index of the first byte of that sequence.
    pub(crate) start: u32,
    /// Distance to the earlier occurrence.
    pub(crate) offset: u32,
}

/// The anchors of a block, and the table of all earlier ones.
pub(crate) struct Anchors {
    /// The last 16 bytes of each hash: eight more bits of their hash, and the lowest 24 bits of their position.
    table: Box<[u32]>,
    /// Has room for the starts of all sequences. More anchors are left out.
    list: Box<[Anchor]>,
    /// Number of anchors in the list.
    count: usize,
    candidates: Vec<Candidate>,
}

impl Anchors {
    pub(crate) fn new() -> Self {
        Self {
            table: vec![0; 1 << TABLE_LOG].into(),
            list: vec![Anchor::default(); MAX_MATCHES].into(),
            count: 0,
            candidates: Vec::new(),
        }
    }

    /// Starts a block.
    pub(crate) fn clear(&mut self) {
        self.count = 0;
    }

    /// Adds the start of a sequence, if it is one of the places that are looked at.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the loop over all sequences")]
    pub(crate) fn add(&mut self, bytes: &[u8], at: usize, sequence: usize) {
        self.add_inside(bytes, at, sequence, at);
    }

    /// Adds places in a run of literals. The bytes choose the places, so that a repetition has the same ones.
    pub(crate) fn add_in_run(&mut self, bytes: &[u8], run: Range<usize>, sequence: usize) {
        let Some(literals) = bytes.get(run.clone()) else { return };
        for (distance, literal) in literals.iter().enumerate().skip(1) {
            if literal & RUN_MASK == RUN_MARK {
                self.add_inside(bytes, run.start + distance, sequence, run.start);
            }
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the loop over all sequences")]
    #[expect(clippy::cast_possible_truncation, reason = "the window has fewer than 2^32 bytes")]
    fn add_inside(&mut self, bytes: &[u8], at: usize, sequence: usize, start: usize) {
        let Some(hashed) = bytes.get(at..).and_then(<[u8]>::first_chunk) else { return };
        let hash = hash(hashed);
        // No jump depends on the sample: the processor couldn't predict it.
        if let Some(anchor) = self.list.get_mut(self.count) {
            *anchor = Anchor { at: at as u32, sequence: sequence as u32, start: start as u32, hash };
            self.count += usize::from(hash & SAMPLE == 0);
        }
    }

    /// Looks up every anchor and enters it into the table. Returns those whose bytes really occurred before.
    #[expect(clippy::cast_possible_truncation, reason = "the table holds the lowest bits of positions")]
    pub(crate) fn candidates(&mut self, block: Block<'_>) -> &[Candidate] {
        let base = block.base as u32;
        self.candidates.clear();
        let list = self.list.get(..self.count).unwrap_or_default();
        for (number, anchor) in list.iter().enumerate() {
            let next = list.get(number + PREFETCH_DISTANCE).unwrap_or(anchor);
            prefetch(&self.table, slot(next.hash));
            let Anchor { at, sequence, start, hash } = *anchor;
            let Some(entry) = self.table.get_mut(slot(hash)) else { continue };
            let position = base.wrapping_add(at) & POSITION;
            let tag = hash << 24;
            let earlier = std::mem::replace(entry, tag | position);
            let offset = position.wrapping_sub(earlier) & POSITION;
            let max_offset = block.max_offset(at as usize) as u32;
            if (earlier ^ tag) & !POSITION == 0 && (1..=max_offset).contains(&offset) {
                prefetch(block.bytes, block.source(at as usize, offset as usize).at);
                self.candidates.push(Candidate { at, sequence, start, offset });
            }
        }
        self.candidates.retain(|candidate| {
            block.is_match(candidate.at as usize, candidate.offset as usize, HASHED_BYTES)
        });
        &self.candidates
    }
}

/// Asks the processor to load an element that is used soon.
#[inline]
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "the instruction takes a pointer"))]
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

/// Hashes the bytes of an anchor.
fn hash(bytes: &[u8; HASHED_BYTES]) -> u32 {
    let [first, second] = [0, 8].map(|at| load(bytes, at).unwrap_or_default());
    let mixed = (first ^ second.rotate_left(29).wrapping_mul(0xC2B2_AE3D_27D4_EB4F))
        .wrapping_mul(0x9E37_79B1_85EB_CA87);
    (mixed >> 32) as u32
}

/// Number of the table's entry.
fn slot(hash: u32) -> usize {
    (hash >> (32 - TABLE_LOG)) as usize
}

//! The plain bytes of the second stage: the segment in work, and the window before it.
//!
//! The buffer is written from its start to its end, again and again. One such pass is a lap. A lap overwrites the
//! bytes of the former one, which are too old by then. So hardly any bytes move, and the buffer is hardly larger than
//! the window.

use memmap2::MmapMut;

use super::block::Block;
use super::error::Fault;
use super::limits::WINDOW_BYTES;

/// Bytes behind a block that comparisons may read.
const SLACK_BYTES: usize = 512;

/// Bytes before the oldest plain byte, for a header that turns a part of the buffer into a dictionary.
pub(crate) const HEADROOM_BYTES: usize = 64;
/// Bytes before a lap that are copied from the former lap's end: all that deflate's matches refer to.
const HISTORY_BYTES: usize = 32 << 10;
/// Index of a lap's first byte.
const LAP_START: usize = HEADROOM_BYTES + HISTORY_BYTES;

/// A buffer of the last plain bytes. A position counts from the start of the stream; an index counts from the
/// start of the buffer.
pub(crate) struct Window {
    /// From the kernel, which gets it back at once: an allocator keeps freed buffers of this size, one for each thread.
    bytes: MmapMut,
    /// Largest number of plain bytes of a segment.
    segment_bytes: usize,
    /// Position of the lap's first byte.
    base: u64,
    /// Index behind the last plain byte.
    end: usize,
    /// Index behind the former lap's last byte. [`LAP_START`] in the first lap.
    former_end: usize,
}

impl Window {
    /// A window for segments of at most `segment_bytes`.
    pub(crate) fn new(segment_bytes: usize) -> Result<Self, Fault> {
        // A lap ends when another segment may not fit. So it is longer than the window by two segments at least: the
        // segment that overwrites it finds the whole window before itself, and its own last segments have the whole
        // window in one piece.
        let size = LAP_START + WINDOW_BYTES + 3 * segment_bytes + SLACK_BYTES;
        let bytes = MmapMut::map_anon(size).map_err(|_| Fault::Memory)?;
        // Matches jump over megabytes, and each ordinary page that the processor hasn't used lately costs a walk
        // through the page tables. The kernel may refuse.
        #[cfg(all(target_os = "linux", not(miri)))]
        let _ = bytes.advise(memmap2::Advice::HugePage);
        Ok(Self { bytes, segment_bytes, base: 0, end: LAP_START, former_end: LAP_START })
    }

    /// Position behind the last plain byte.
    pub(crate) fn position(&self) -> u64 {
        self.base + (self.end - LAP_START) as u64
    }

    /// Index of a position of this lap.
    fn index(&self, position: u64) -> usize {
        debug_assert!(position >= self.base, "{position} is in a former lap");
        LAP_START + usize::try_from(position.saturating_sub(self.base)).unwrap_or(usize::MAX - LAP_START)
    }

    /// Appends a block. All blocks of a segment are in one lap.
    pub(crate) fn append(&mut self, plain: &[u8]) -> Block<'_> {
        let (start, position) = (self.end, self.position());
        self.end += plain.len();
        self.bytes[start..self.end].copy_from_slice(plain);
        Block {
            bytes: &self.bytes,
            base: self.base,
            oldest: if self.former_end == LAP_START { LAP_START } else { HEADROOM_BYTES },
            former: self.former_end - LAP_START,
            former_end: self.former_end,
            before: window_before(position),
            start,
            end: self.end,
        }
    }

    /// Plain bytes from `start` on, which is a position of this lap.
    pub(crate) fn since(&self, start: u64) -> &[u8] {
        &self.bytes[self.index(start).min(self.end)..self.end]
    }

    /// Returns whether the lap has no room for another segment.
    pub(crate) fn is_lap_complete(&self) -> bool {
        self.end + self.segment_bytes + SLACK_BYTES > self.bytes.len()
    }

    /// Returns whether the whole window before position `start` is in this lap. So it is for about one segment in 12,
    /// behind the first 8 MiB.
    pub(crate) fn is_in_one_piece(&self, start: u64) -> bool {
        self.index(start) - LAP_START >= WINDOW_BYTES
    }

    /// Starts a lap behind a complete one. The next block must be a segment's first.
    pub(crate) fn start_lap(&mut self) {
        self.base = self.position();
        self.bytes.copy_within(self.end - HISTORY_BYTES..self.end, HEADROOM_BYTES);
        self.former_end = self.end;
        self.end = LAP_START;
    }

    /// Calls `run` with a dictionary, which is `header` followed by the bytes of one window before position `start`
    /// of the last segment, and with the bytes from `start` on.
    pub(crate) fn with_dictionary<T>(
        &mut self,
        header: &[u8; HEADROOM_BYTES],
        start: u64,
        run: impl FnOnce(&[u8], &[u8]) -> T,
    ) -> T {
        let (before, lap) = (window_before(start), self.end - LAP_START);
        // Puts the rest of the former lap in front of this one, if the window begins there.
        let shift = if self.index(start) - LAP_START < before { self.former_end - self.end } else { 0 };
        if shift > 0 {
            self.bytes[LAP_START..self.former_end].rotate_left(lap);
        }
        let (start, end) = (self.index(start) + shift, self.end + shift);
        let first = start - before;
        let place = first - HEADROOM_BYTES..first;
        // The header replaces older bytes meanwhile.
        let mut replaced = *header;
        self.bytes[place.clone()].swap_with_slice(&mut replaced);
        let (before, after) = self.bytes[place.start..end].split_at(start - place.start);
        let result = run(before, after);
        self.bytes[place].copy_from_slice(&replaced);
        if shift > 0 {
            self.bytes[LAP_START..self.former_end].rotate_right(lap);
        }
        result
    }
}

/// Number of bytes before `position` that a match at this position may refer to.
pub(crate) fn window_before(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX).min(WINDOW_BYTES)
}

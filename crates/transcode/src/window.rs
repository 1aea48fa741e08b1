//! The plain bytes of the second stage: the segment in work, and the window before it.

use memmap2::MmapMut;

use super::error::Fault;

/// Binary logarithm of the window. RFC 8878 recommends that every decoder supports 8 MiB, and no more.
pub(crate) const WINDOW_LOG: u32 = 23;
/// Largest offset of a match in bytes.
pub(crate) const WINDOW_BYTES: usize = 1 << WINDOW_LOG;
/// Largest number of plain bytes in a zstd block (RFC 8878, 3.1.1.2.4).
pub(crate) const BLOCK_BYTES: usize = 128 << 10;
/// Bytes behind a block that comparisons may read.
const SLACK_BYTES: usize = 512;
/// Plain bytes between two moves of the window to the start of its buffer. Fewer moves cost less time and
/// more memory.
const MOVE_BYTES: usize = 6 << 20;

/// Bytes before the oldest plain byte, for a header that turns a part of the buffer into a dictionary.
pub(crate) const HEADROOM_BYTES: usize = 64;

/// A buffer of the last plain bytes. A position counts from the start of the stream; an index counts from the
/// start of the buffer.
pub(crate) struct Window {
    /// From the kernel, which gets it back at once: an allocator keeps freed buffers of this size, one for each thread.
    bytes: MmapMut,
    /// Position of index [`HEADROOM_BYTES`].
    base: u64,
    /// Index behind the last plain byte.
    end: usize,
}

impl Window {
    /// A window for segments of at most `segment_bytes`.
    pub(crate) fn new(segment_bytes: usize) -> Result<Self, Fault> {
        let size = HEADROOM_BYTES + WINDOW_BYTES + segment_bytes + MOVE_BYTES + BLOCK_BYTES + SLACK_BYTES;
        let bytes = MmapMut::map_anon(size).map_err(|_| Fault::Memory)?;
        // Matches jump over megabytes, and each ordinary page that the processor hasn't used lately costs a walk
        // through the page tables. The kernel may refuse.
        #[cfg(target_os = "linux")]
        let _ = bytes.advise(memmap2::Advice::HugePage);
        Ok(Self { bytes, base: 0, end: HEADROOM_BYTES })
    }

    /// Position behind the last plain byte.
    pub(crate) fn position(&self) -> u64 {
        self.base + (self.end - HEADROOM_BYTES) as u64
    }

    /// Index of a position that the buffer holds. For an older position, the index of the oldest byte.
    pub(crate) fn index(&self, position: u64) -> usize {
        let distance = usize::try_from(position.saturating_sub(self.base)).unwrap_or(usize::MAX);
        distance.saturating_add(HEADROOM_BYTES)
    }

    /// Position of index [`HEADROOM_BYTES`], where the oldest byte is.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// Index behind the last plain byte.
    pub(crate) fn end(&self) -> usize {
        self.end
    }

    /// All bytes of the buffer. Bytes at and behind the [`end`](Self::end) have no meaning.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends a block. Returns the index of its first byte.
    pub(crate) fn append(&mut self, block: &[u8]) -> usize {
        let start = self.end;
        self.end += block.len();
        self.bytes[start..self.end].copy_from_slice(block);
        start
    }

    /// Plain bytes from `start` on.
    pub(crate) fn since(&self, start: u64) -> &[u8] {
        &self.bytes[self.index(start).min(self.end)..self.end]
    }

    /// Makes room for a block. Keeps the bytes from `oldest` on and one window before them.
    pub(crate) fn make_room(&mut self, oldest: u64) {
        if self.end + BLOCK_BYTES + SLACK_BYTES <= self.bytes.len() {
            return;
        }
        let moved = self.index(oldest).saturating_sub(HEADROOM_BYTES + WINDOW_BYTES);
        self.bytes.copy_within(moved + HEADROOM_BYTES..self.end, HEADROOM_BYTES);
        self.base += moved as u64;
        self.end -= moved;
    }

    /// Calls `run` with a dictionary, which is `header` followed by the bytes of one window before index `end`, and
    /// with the bytes from `end` on. The header replaces older bytes meanwhile.
    pub(crate) fn with_dictionary<T>(
        &mut self,
        header: &[u8; HEADROOM_BYTES],
        end: usize,
        run: impl FnOnce(&[u8], &[u8]) -> T,
    ) -> T {
        let first = end.saturating_sub(WINDOW_BYTES).max(HEADROOM_BYTES);
        let place = first - HEADROOM_BYTES..first;
        let mut replaced = *header;
        self.bytes[place.clone()].swap_with_slice(&mut replaced);
        let (before, after) = self.bytes[place.start..self.end].split_at(end - place.start);
        let result = run(before, after);
        self.bytes[place].copy_from_slice(&replaced);
        result
    }
}

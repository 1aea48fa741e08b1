//! The inflater's output: the block in work, and the bytes before it that deflate's matches may refer to.
//!
//! The buffer is small, so that it stays in the processor's cache.

use super::limits::BLOCK_BYTES;

/// Largest offset of a deflate match in bytes.
const HISTORY_BYTES: usize = 32 << 10;
/// Blocks that fit behind the history. More blocks need fewer moves.
const BLOCKS: usize = 3;
/// Bytes behind a block that copies in steps may overwrite.
const SLACK_BYTES: usize = 512;

/// A buffer of the last plain bytes. An index counts from the start of the buffer, a position from the start of the
/// stream.
pub(crate) struct Output {
    bytes: Box<[u8]>,
    /// Position of index 0.
    base: u64,
    /// Index of the first byte of the block in work.
    start: usize,
    /// Index behind the last plain byte.
    end: usize,
}

impl Output {
    pub(crate) fn new() -> Self {
        let size = HISTORY_BYTES + BLOCKS * BLOCK_BYTES + SLACK_BYTES;
        Self { bytes: vec![0; size].into(), base: 0, start: 0, end: 0 }
    }

    /// Position behind the last plain byte.
    pub(crate) fn position(&self) -> u64 {
        self.base + self.end as u64
    }

    /// Index of a position. For a position older than the buffer, the index of the oldest byte.
    pub(crate) fn index(&self, position: u64) -> usize {
        usize::try_from(position.saturating_sub(self.base)).unwrap_or(usize::MAX)
    }

    /// Index of the first byte of the block in work.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// The buffer and the index behind its last plain byte, for the inflater.
    pub(crate) fn parts(&mut self) -> (&mut [u8], &mut usize) {
        (&mut self.bytes, &mut self.end)
    }

    /// Plain bytes from position `start` on.
    pub(crate) fn since(&self, start: u64) -> &[u8] {
        &self.bytes[self.index(start).min(self.end)..self.end]
    }

    /// Plain bytes of the block in work.
    pub(crate) fn block(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Starts a block behind the last one.
    pub(crate) fn start_block(&mut self) {
        if self.end + BLOCK_BYTES + SLACK_BYTES > self.bytes.len() {
            let moved = self.end - HISTORY_BYTES;
            self.bytes.copy_within(moved..self.end, 0);
            self.base += moved as u64;
            self.end = HISTORY_BYTES;
        }
        self.start = self.end;
    }
}

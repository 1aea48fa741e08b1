//! The compressed bytes: a buffer that pieces of any size fill, and a bit reader.

/// Size of the buffer in bytes.
const CAPACITY: usize = 64 << 10;
/// Zero bytes behind the buffer's content, so that the bit reader can always load whole words.
const PADDING: usize = 64;
/// Bytes that one turn of the inflater's loop may load ahead of its position.
const MARGIN: usize = 32;

/// Compressed bytes, and the bits that the reader has loaded from them.
pub(crate) struct Input {
    bytes: Box<[u8]>,
    /// Index behind the last byte.
    end: usize,
    /// No bytes will follow.
    is_final: bool,
    /// Number of bytes that left the buffer.
    dropped: u64,
    /// The bit reader.
    pub(crate) bits: Bits,
}

/// Bits loaded from [`Input`], lowest first. Copied into registers by the inflater's loop.
#[derive(Clone, Copy)]
pub(crate) struct Bits {
    /// The next bits. Bits above `count` are zero or equal to the bits that the next load adds.
    pub(crate) buffer: u64,
    /// Number of bits in `buffer`.
    pub(crate) count: u32,
    /// Index of the next byte to load.
    pub(crate) next: usize,
}

impl Bits {
    /// Adds the bits of the eight bytes at `next`, as many as fit: at least 56 bits are there afterwards.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the bits stay in registers only if every use is inlined")]
    pub(crate) fn add(&mut self, word: [u8; 8]) {
        self.buffer |= u64::from_le_bytes(word) << self.count;
        self.next += ((63 - self.count) >> 3) as usize;
        self.count |= 0b11_1000;
    }

    /// Removes `count` bits.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the bits stay in registers only if every use is inlined")]
    pub(crate) fn skip(&mut self, count: u32) {
        self.buffer >>= count & 63;
        self.count -= count;
    }

    /// Removes and returns `count` bits, at most 16.
    pub(crate) fn take(&mut self, count: u32) -> usize {
        let value = self.buffer & ((1 << count) - 1);
        self.skip(count);
        usize::from(u16::try_from(value).unwrap_or_default())
    }
}

impl Input {
    pub(crate) fn new() -> Self {
        let bits = Bits { buffer: 0, count: 0, next: 0 };
        Self { bytes: vec![0; CAPACITY + PADDING].into(), end: 0, is_final: false, dropped: 0, bits }
    }

    /// Moves bytes from the start of `piece` into the buffer, as many as fit.
    pub(crate) fn fill(&mut self, piece: &mut &[u8]) {
        // Bytes that the bit reader has loaded whole are read again.
        self.unload();
        let start = self.bits.next;
        self.bytes.copy_within(start..self.end, 0);
        self.end -= start;
        self.dropped += start as u64;
        self.bits.next = 0;
        let count = piece.len().min(CAPACITY - self.end);
        let (head, rest) = piece.split_at(count);
        self.bytes[self.end..self.end + count].copy_from_slice(head);
        self.end += count;
        self.bytes[self.end..self.end + PADDING].fill(0);
        *piece = rest;
    }

    /// Ends the stream: reads at the end of the buffer find zeros instead of asking for more.
    pub(crate) fn set_final(&mut self) {
        self.is_final = true;
    }

    /// The buffer, padded with zeros.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Largest index from which the inflater's loop may load.
    pub(crate) fn load_limit(&self) -> Option<usize> {
        if self.is_final { Some(self.end + 8) } else { self.end.checked_sub(MARGIN) }
    }

    /// Returns whether the reader has used bits behind the end of a final buffer.
    pub(crate) fn is_overrun(&self) -> bool {
        self.bits.next > self.end + (self.bits.count >> 3) as usize
    }

    /// Returns whether `count` bytes are loaded or in the buffer, or the stream has ended.
    pub(crate) fn can_read(&self, count: usize) -> bool {
        self.is_final || self.end + (self.bits.count >> 3) as usize >= self.bits.next + count
    }

    /// Loads bits, so that at least 56 are there, zeros behind the end.
    pub(crate) fn refill(&mut self) {
        if let Some(word) = self.bytes.get(self.bits.next..).and_then(|rest| rest.first_chunk()) {
            self.bits.add(*word);
        }
    }

    /// Offset in the stream of the next byte that isn't used entirely. Zeros that were read behind the end don't count.
    pub(crate) fn offset(&self) -> u64 {
        let next = (self.dropped + self.bits.next as u64).saturating_sub(u64::from(self.bits.count >> 3));
        next.min(self.end_offset())
    }

    /// Offset in the stream of the end of the bytes so far.
    pub(crate) fn end_offset(&self) -> u64 {
        self.dropped + self.end as u64
    }

    /// Gives whole bytes in the bit reader back to the buffer.
    fn unload(&mut self) {
        let bits = &mut self.bits;
        bits.next -= (bits.count >> 3) as usize;
        bits.count &= 7;
        bits.buffer &= (1 << bits.count) - 1;
    }

    /// Removes the bits up to the next byte of the stream. Bytes can be read afterwards.
    pub(crate) fn align(&mut self) {
        let bits = self.bits.count & 7;
        self.bits.skip(bits);
        self.unload();
    }

    /// The rest of the buffer. The reader must be aligned.
    pub(crate) fn rest(&self) -> &[u8] {
        self.bytes.get(self.bits.next..self.end).unwrap_or_default()
    }

    /// Removes `count` bytes of [`rest`](Self::rest).
    pub(crate) fn consume(&mut self, count: usize) {
        self.bits.next += count;
    }

    /// Returns whether the stream has ended.
    pub(crate) fn is_final(&self) -> bool {
        self.is_final
    }
}

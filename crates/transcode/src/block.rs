//! A block of plain bytes, and the window that its matches refer to.

use super::bytes::{self, is_equal};
use super::limits::WINDOW_BYTES;

/// A block of plain bytes. An index counts from the start of the window's buffer.
///
/// Most sources of a block's matches are before the block in the buffer; so are those in the last 32 KiB of the former
/// lap, which were copied. Older sources are behind the block: at an index that is higher by the length of that lap.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    /// The window's buffer.
    pub(crate) bytes: &'a [u8],
    /// Position of the lap's first byte.
    pub(crate) base: u64,
    /// Index of the oldest byte that is before the block in the buffer.
    pub(crate) oldest: usize,
    /// Length of the former lap in bytes.
    pub(crate) former: usize,
    /// Index behind the last byte of the former lap.
    pub(crate) former_end: usize,
    /// Number of bytes before the block that its matches may refer to.
    pub(crate) before: usize,
    /// Index of the block's first byte.
    pub(crate) start: usize,
    /// Index behind the block's last byte.
    pub(crate) end: usize,
}

/// Bytes that a match may copy.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    /// Index of the first byte.
    pub(crate) at: usize,
    /// Lowest index to which the match may be extended.
    pub(crate) first: usize,
    /// Index behind the last byte that the match may copy.
    pub(crate) end: usize,
}

impl Block<'_> {
    /// Largest offset of a match at index `at`.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the loop over all sequences")]
    pub(crate) fn max_offset(&self, at: usize) -> usize {
        (self.before + (at - self.start)).min(WINDOW_BYTES)
    }

    /// Source of a match at index `at`. The offset isn't larger than the [largest one](Self::max_offset).
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the loop over all sequences")]
    pub(crate) fn source(&self, at: usize, offset: usize) -> Source {
        if offset <= at - self.oldest {
            Source { at: at - offset, first: self.oldest, end: self.end }
        } else {
            // The lap has overwritten the former one up to the block's end.
            Source { at: at + self.former - offset, first: self.end, end: self.former_end }
        }
    }

    /// Returns whether `length` bytes at index `at` equal those at an offset, which isn't larger than the
    /// [largest one](Self::max_offset). A source that begins behind the block and ends behind the former lap counts as
    /// different.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the loop over all sequences")]
    pub(crate) fn is_match(&self, at: usize, offset: usize, length: usize) -> bool {
        let source = self.source(at, offset);
        length <= source.end - source.at && is_equal(self.bytes, source.at, at, length)
    }

    /// Number of bytes from index `at` on that equal those at a source.
    pub(crate) fn common_length(&self, at: usize, source: Source) -> usize {
        let room = source.end - source.at;
        bytes::common_length(self.bytes, source.at, at, self.end.min(at + room))
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::BLOCK_BYTES;
    use super::super::window::Window;
    use super::*;

    #[test]
    fn bytes_behind_the_former_laps_end_do_not_count() {
        let bytes = &[7; 400];
        let block = Block {
            bytes,
            base: 0,
            oldest: 100,
            former: 200,
            former_end: 300,
            before: 190,
            start: 110,
            end: 240,
        };
        let source = block.source(110, 60);
        assert_eq!((source.at, source.first, source.end), (250, 240, 300));
        assert_eq!(block.common_length(110, source), 50);
        assert!(block.is_match(110, 60, 50));
        assert!(!block.is_match(110, 60, 51));
        assert!(block.is_match(110, 10, 130), "a source before the block");
    }

    #[test]
    fn sources_around_the_end_of_a_lap_are_the_streams_bytes() {
        let mut window = Window::new(BLOCK_BYTES).unwrap();
        let stream: Vec<u8> = (0..3 * WINDOW_BYTES).map(|position| u8::from(position % 61 < 9)).collect();
        let (mut position, mut boundary) = (0, 0);
        let mut random = 1_u64;
        let mut random = |end: usize| {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            usize::try_from(random >> 33).unwrap() % end
        };
        let (mut equal, mut cut) = (0, 0);
        while position + BLOCK_BYTES <= stream.len() {
            if window.is_lap_complete() {
                window.start_lap();
                boundary = position;
            }
            let length = BLOCK_BYTES - random(1000);
            let block = window.append(&stream[position..position + length]);
            for _ in 0..200 {
                let later = position + random(length);
                // Also a source that begins in the former lap, before the bytes that this one has a copy of.
                let boundary = boundary.saturating_sub(random(2) * (32 << 10));
                let places = [boundary, later.saturating_sub(WINDOW_BYTES)];
                let earlier = (places[random(2)] + 100).saturating_sub(random(200));
                // Half of the sources equal the bytes up to the block's end.
                let earlier = if random(2) == 0 { earlier } else { earlier - earlier % 61 + later % 61 };
                let Some(offset) =
                    later.checked_sub(earlier).filter(|offset| (1..=WINDOW_BYTES).contains(offset))
                else {
                    continue;
                };
                let at = block.start + (later - position);
                assert!(offset <= block.max_offset(at));
                let source = block.source(at, offset);
                let found = block.common_length(at, source);
                let all = bytes::common_length(&stream, earlier, later, position + length);
                assert!(found <= all, "{found} of {all} at {later} from {earlier}");
                let is_cut = source.at > at && source.at + all > source.end;
                assert!(found == all || is_cut && found == source.end - source.at);
                assert!(
                    found == all || offset > later - position + (32 << 10),
                    "deflate refers to these bytes"
                );
                for length in [all, 1 + random(64.min(position + length - later))] {
                    let is_whole = source.at < at || source.at + length <= source.end;
                    assert_eq!(block.is_match(at, offset, length), length <= all && is_whole);
                }
                let before = (source.at - source.first).min(earlier).min(300);
                let in_window = &block.bytes[source.at - before..source.at];
                assert_eq!(in_window, &stream[earlier - before..earlier]);
                equal += usize::from(found > 0);
                cut += usize::from(found < all);
            }
            position += length;
        }
        assert!(equal > 1000 && cut > 100, "{equal} {cut}");
    }
}

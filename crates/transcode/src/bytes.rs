//! Comparisons of plain bytes, a word at a time.

/// Loads eight bytes, or nothing if they aren't all in `bytes`.
#[inline(always)]
#[expect(clippy::inline_always, reason = "a load instruction")]
pub(crate) fn load(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|word| u64::from_le_bytes(*word))
}

/// Number of equal bytes from index `earlier` and index `later` on, up to index `end` of the later ones.
#[inline]
pub(crate) fn common_length(bytes: &[u8], earlier: usize, later: usize, end: usize) -> usize {
    let mut length = 0;
    while later + length + 8 <= end {
        let (Some(left), Some(right)) = (load(bytes, earlier + length), load(bytes, later + length)) else {
            break;
        };
        let difference = left ^ right;
        if difference != 0 {
            return length + (difference.trailing_zeros() >> 3) as usize;
        }
        length += 8;
    }
    while later + length < end && bytes.get(earlier + length) == bytes.get(later + length) {
        length += 1;
    }
    length
}

/// Returns whether `length` bytes from index `earlier` and from index `later` on are equal. Bytes near the end of
/// `bytes` are never equal.
#[inline(always)]
#[expect(clippy::inline_always, reason = "part of the loop over all sequences")]
#[expect(clippy::cast_possible_truncation, reason = "takes the halves of a double word")]
pub(crate) fn is_equal(bytes: &[u8], earlier: usize, later: usize, length: usize) -> bool {
    let words = |at: usize| bytes.get(at..)?.first_chunk().map(|words| u128::from_le_bytes(*words));
    let (Some(left), Some(right)) = (words(earlier), words(later)) else { return false };
    let difference = left ^ right;
    let first = difference as u64 & low_bytes(length);
    let second = (difference >> 64) as u64 & low_bytes(length.saturating_sub(8));
    first | second == 0
        && (length <= 16
            || bytes.get(earlier + 16..earlier + length) == bytes.get(later + 16..later + length))
}

/// A word whose lowest `count` bytes have all bits set.
#[inline(always)]
#[expect(clippy::inline_always, reason = "part of the loop over all sequences")]
fn low_bytes(count: usize) -> u64 {
    if count >= 8 { u64::MAX } else { (1 << (8 * count)) - 1 }
}

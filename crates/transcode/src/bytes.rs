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
    let Some(right) = bytes.get(later..end) else { return 0 };
    let Some(left) = bytes.get(earlier..earlier + right.len()) else { return 0 };
    let (left_words, left_rest) = left.as_chunks::<8>();
    let (right_words, right_rest) = right.as_chunks::<8>();
    for (number, (left, right)) in left_words.iter().zip(right_words).enumerate() {
        let difference = u64::from_le_bytes(*left) ^ u64::from_le_bytes(*right);
        if difference != 0 {
            return 8 * number + (difference.trailing_zeros() >> 3) as usize;
        }
    }
    let rest = left_rest.iter().zip(right_rest).take_while(|(left, right)| left == right);
    8 * left_words.len() + rest.count()
}

/// Returns whether `length` bytes from index `earlier` and from index `later` on are equal. Bytes near the end of
/// `bytes` are never equal.
///
/// Most matches are short. The first 32 bytes are compared without a jump that depends on the length, because the
/// processor couldn't predict it.
#[inline(always)]
#[expect(clippy::inline_always, reason = "part of the loop over all sequences")]
pub(crate) fn is_equal(bytes: &[u8], earlier: usize, later: usize, length: usize) -> bool {
    let words = |at: usize| bytes.get(at..)?.first_chunk::<STEP_BYTES>();
    let (Some(left), Some(right)) = (words(earlier), words(later)) else { return false };
    let mask = &MASKS[length.min(STEP_BYTES)];
    let mut difference = 0;
    for ((left, right), mask) in left.as_chunks::<8>().0.iter().zip(right.as_chunks::<8>().0).zip(mask) {
        difference |= (u64::from_le_bytes(*left) ^ u64::from_le_bytes(*right)) & mask;
    }
    difference == 0
        && (length <= STEP_BYTES
            || bytes.get(earlier + STEP_BYTES..earlier + length)
                == bytes.get(later + STEP_BYTES..later + length))
}

/// Bytes that [`is_equal`] compares at once.
const STEP_BYTES: usize = 32;

/// Words whose first bytes have all bits set, for each number of bytes.
static MASKS: [[u64; STEP_BYTES / 8]; STEP_BYTES + 1] = masks();

const fn masks() -> [[u64; STEP_BYTES / 8]; STEP_BYTES + 1] {
    let mut masks = [[0; STEP_BYTES / 8]; STEP_BYTES + 1];
    let mut length = 0;
    while length <= STEP_BYTES {
        let mut byte = 0;
        while byte < length {
            masks[length][byte / 8] |= 0xff << (8 * (byte % 8));
            byte += 1;
        }
        length += 1;
    }
    masks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_behind_the_length_do_not_count() {
        for length in 0..70 {
            let mut bytes = [7_u8; 300];
            assert!(is_equal(&bytes, 0, 100, length), "{length}");
            bytes[100 + length] = 8;
            assert!(is_equal(&bytes, 0, 100, length), "{length}");
            for wrong in 0..length {
                let mut bytes = [7_u8; 300];
                bytes[100 + wrong] = 6;
                assert!(!is_equal(&bytes, 0, 100, length), "{wrong} of {length}");
            }
        }
        assert!(!is_equal(&[7; 40], 0, 9, 3), "bytes near the end");
    }

    #[test]
    fn common_length_ends_at_the_first_difference() {
        for end in 100..140 {
            let bytes = [7_u8; 140];
            assert_eq!(common_length(&bytes, 50, 100, end), end - 100);
            for wrong in 100..end {
                let mut bytes = bytes;
                bytes[wrong] = 8;
                assert_eq!(common_length(&bytes, 50, 100, end), wrong - 100);
            }
        }
    }
}

//! The inflater's loop: symbols of one deflate block to plain bytes and sequences.
//!
//! The loop spends more than a quarter of a transcoding's time. It checks indices once, at its start, instead of
//! at each access.

use super::error::Damage;
use super::huffman::{
    DISTANCE_BITS, DISTANCE_ENTRIES, END_OF_BLOCK, EXCEPTION, INVALID, LITERAL, LITERAL_BITS,
    LITERAL_ENTRIES, Tables,
};
use super::input::{Bits, Input};
use super::output::Output;
use super::tokens::{Token, Tokens};

/// Bytes behind a turn's first input byte that the turn may load: three refills advance by 7 bytes each, and load
/// 8.
const TURN_INPUT_BYTES: usize = 32;
/// Bytes behind a turn's first output byte that the turn may write: two literals, a match of 258 bytes, and the
/// rest of a step of 32 bytes.
const TURN_OUTPUT_BYTES: usize = 2 + 258 + 32;

/// Largest number of bits of a distance: 15 of its code, 13 extra ones.
const DISTANCE_MAX_BITS: u32 = 28;

/// The reason why the loop stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The block has ended.
    EndOfBlock,
    /// The output has reached its limit.
    Full,
    /// The next turn could load bits behind the input.
    Input,
}

/// Value of a length's or distance's extra bits, plus its base. `bits` holds the symbol's code and, above it,
/// the extra bits.
#[inline(always)]
#[expect(clippy::inline_always, reason = "part of the inflater's loop")]
#[expect(clippy::cast_possible_truncation, reason = "extra bits have at most 13 bits")]
fn value(entry: u32, bits: u64) -> usize {
    let used = bits & ((1 << (entry & 63)) - 1);
    (entry >> 16) as usize + (used >> ((entry >> 8) & 15)) as usize
}

/// Value of the lowest bits, as an index into a table.
#[inline(always)]
#[expect(clippy::inline_always, reason = "part of the inflater's loop")]
#[expect(clippy::cast_possible_truncation, reason = "a table has at most 2^11 entries")]
fn low_bits(bits: u64, count: u32) -> usize {
    (bits & ((1 << count) - 1)) as usize
}

/// Index into the subtable that `entry` points to.
#[inline(always)]
#[expect(clippy::inline_always, reason = "part of the inflater's loop")]
fn subtable_index(entry: u32, bits: u64) -> usize {
    ((entry >> 16) & 0x7fff) as usize + low_bits(bits, (entry >> 8) & 15)
}

/// Loads bits, so that at least 56 are there.
///
/// # Safety
///
/// Eight bytes from `bits.next` on are in `source`.
#[inline(always)]
#[expect(clippy::inline_always, reason = "part of the inflater's loop")]
#[expect(unsafe_code, reason = "the loop has checked the index")]
unsafe fn refill(bits: &mut Bits, source: &[u8]) {
    // SAFETY: the caller has checked the index. An array of bytes has no alignment.
    let word = unsafe { source.as_ptr().add(bits.next).cast::<[u8; 8]>().read() };
    bits.buffer |= u64::from_le_bytes(word) << (bits.count & 63);
    bits.next += (!bits.count >> 3 & 7) as usize;
    bits.count |= 0b11_1000;
}

/// Removes the bits of an entry. In the loop, only the lowest six bits of `count` have a meaning, so that the other
/// fields of the entry needn't be removed.
#[inline(always)]
#[expect(clippy::inline_always, reason = "part of the inflater's loop")]
fn skip(bits: &mut Bits, entry: u32) {
    bits.buffer >>= entry & 63;
    bits.count = bits.count.wrapping_sub(entry);
}

/// Writes a literal.
///
/// # Safety
///
/// Index `at` is in `bytes`.
#[inline(always)]
#[expect(clippy::inline_always, reason = "part of the inflater's loop")]
#[expect(unsafe_code, reason = "the loop has checked the index")]
#[expect(clippy::cast_possible_truncation, reason = "a literal's entry has a byte there")]
unsafe fn put(bytes: &mut [u8], at: usize, entry: u32) {
    // SAFETY: the caller has checked the index.
    unsafe { *bytes.as_mut_ptr().add(at) = (entry >> 16) as u8 };
}

/// Copies `N` bytes. Source and target may overlap.
///
/// # Safety
///
/// `N` bytes from `from` and from `to` on are in `bytes`.
#[inline(always)]
#[expect(clippy::inline_always, reason = "part of the inflater's loop")]
#[expect(unsafe_code, reason = "the loop has checked both ranges")]
unsafe fn copy<const N: usize>(bytes: &mut [u8], from: usize, to: usize) {
    let start = bytes.as_mut_ptr();
    // SAFETY: the caller has checked the indices. An array of bytes has no alignment, and is loaded before it is
    // stored.
    unsafe { start.add(to).cast::<[u8; N]>().write(start.add(from).cast::<[u8; N]>().read()) };
}

/// Copies a match of `length` bytes to index `at`. Writes up to 31 bytes more.
///
/// # Safety
///
/// `offset` is from 1 to `at`, and `length + 32` bytes from `at` on are in `bytes`.
#[inline(always)]
#[expect(clippy::inline_always, reason = "part of the inflater's loop")]
#[expect(unsafe_code, reason = "calls `copy`")]
unsafe fn copy_match(bytes: &mut [u8], at: usize, offset: usize, length: usize) {
    let end = at + length;
    let (mut from, mut to) = (at - offset, at);
    // SAFETY, for all blocks: `from` is at least 0 and below `to`. A step starts below `end`, and copies at most
    // 32 bytes.
    if offset >= 16 {
        // SAFETY: see above.
        unsafe { copy::<16>(bytes, from, to) };
        // SAFETY: see above.
        unsafe { copy::<16>(bytes, from + 16, to + 16) };
        (from, to) = (from + 32, to + 32);
        while to < end {
            // SAFETY: see above.
            unsafe { copy::<16>(bytes, from, to) };
            (from, to) = (from + 16, to + 16);
        }
    } else if offset == 1 {
        let byte = bytes[from];
        bytes[at..end].fill(byte);
    } else {
        // A step of fewer bytes than are copied: the next step overwrites the bytes that are wrong.
        let step = offset.min(8);
        loop {
            // SAFETY: see above.
            unsafe { copy::<8>(bytes, from, to) };
            (from, to) = (from + step, to + step);
            if to >= end {
                return;
            }
        }
    }
}

/// Decodes symbols until the block ends, the window's end reaches `limit`, or the input ends. The output must
/// have room for 512 bytes behind `limit`.
pub(crate) fn run(
    tables: &Tables,
    input: &mut Input,
    output: &mut Output,
    tokens: &mut Tokens,
    oldest: usize,
    limit: usize,
) -> Result<Stop, Damage> {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("bmi2") {
        #[expect(unsafe_code, reason = "the processor has the instructions")]
        // SAFETY: the processor has the instructions.
        return unsafe { run_bmi2(tables, input, output, tokens, oldest, limit) };
    }
    run_symbols(tables, input, output, tokens, oldest, limit)
}

/// The loop with shifts that need no fixed register.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "bmi1,bmi2")]
fn run_bmi2(
    tables: &Tables,
    input: &mut Input,
    output: &mut Output,
    tokens: &mut Tokens,
    oldest: usize,
    limit: usize,
) -> Result<Stop, Damage> {
    run_symbols(tables, input, output, tokens, oldest, limit)
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled for several processors")]
#[expect(clippy::too_many_lines, reason = "the loop's variables stay in registers only in one function")]
#[expect(unsafe_code, reason = "indices are checked once a turn")]
fn run_symbols(
    tables: &Tables,
    input: &mut Input,
    output: &mut Output,
    tokens: &mut Tokens,
    oldest: usize,
    limit: usize,
) -> Result<Stop, Damage> {
    let Some(load_limit) = input.load_limit() else { return Ok(Stop::Input) };
    let literals: &[u32; LITERAL_ENTRIES] = &tables.literals;
    let distances: &[u32; DISTANCE_ENTRIES] = &tables.distances;
    let mut bits = input.bits;
    let source = input.bytes();
    let (bytes, end) = output.parts();
    let mut at = *end;
    let (tokens, token_count) = tokens.parts();
    let mut count = *token_count;
    // These invariants hold for each turn, because a turn starts only below both limits:
    // (1) `TURN_INPUT_BYTES` from `bits.next` on are in `source`.
    // (2) `TURN_OUTPUT_BYTES` from `at` on are in `bytes`.
    assert!(load_limit + TURN_INPUT_BYTES <= source.len() && limit + TURN_OUTPUT_BYTES <= bytes.len());
    assert!(oldest <= at);
    if at >= limit {
        return Ok(Stop::Full);
    }
    if bits.next > load_limit {
        return Ok(Stop::Input);
    }
    // SAFETY: (1).
    unsafe { refill(&mut bits, source) };
    let mut entry = literals[low_bits(bits.buffer, LITERAL_BITS)];
    let result = loop {
        // Here the buffer has at least 56 bits, and `entry` belongs to the lowest of them. Three entries of
        // literals have at most 33 bits, a length has 20, a distance 28.
        let mut symbol_bits = bits.buffer;
        skip(&mut bits, entry);
        if entry & LITERAL != 0 {
            // SAFETY: (2).
            unsafe { put(bytes, at, entry) };
            at += 1;
            entry = literals[low_bits(bits.buffer, LITERAL_BITS)];
            symbol_bits = bits.buffer;
            skip(&mut bits, entry);
            if entry & LITERAL != 0 {
                // SAFETY: (2).
                unsafe { put(bytes, at, entry) };
                at += 1;
                entry = literals[low_bits(bits.buffer, LITERAL_BITS)];
                symbol_bits = bits.buffer;
                skip(&mut bits, entry);
                if entry & LITERAL != 0 {
                    // SAFETY: (2).
                    unsafe { put(bytes, at, entry) };
                    at += 1;
                    // SAFETY: (1), the first refill of the turn.
                    unsafe { refill(&mut bits, source) };
                    entry = literals[low_bits(bits.buffer, LITERAL_BITS)];
                    if at >= limit {
                        break Ok(Stop::Full);
                    }
                    if bits.next > load_limit {
                        break Ok(Stop::Input);
                    }
                    continue;
                }
            }
        }
        if entry & EXCEPTION != 0 {
            if entry & (END_OF_BLOCK | INVALID) == 0 {
                entry = literals[subtable_index(entry, bits.buffer) % LITERAL_ENTRIES];
                symbol_bits = bits.buffer;
                skip(&mut bits, entry);
            }
            if entry & LITERAL != 0 {
                // SAFETY: (2).
                unsafe { put(bytes, at, entry) };
                at += 1;
                // SAFETY: (1), the first refill of the turn.
                unsafe { refill(&mut bits, source) };
                entry = literals[low_bits(bits.buffer, LITERAL_BITS)];
                if at >= limit {
                    break Ok(Stop::Full);
                }
                if bits.next > load_limit {
                    break Ok(Stop::Input);
                }
                continue;
            }
            if entry & EXCEPTION != 0 {
                break if entry & END_OF_BLOCK != 0 { Ok(Stop::EndOfBlock) } else { Err(Damage::Code) };
            }
        }
        let length = value(entry, symbol_bits);
        if bits.count & 63 < DISTANCE_MAX_BITS {
            // SAFETY: (1), the first refill of the turn.
            unsafe { refill(&mut bits, source) };
        }
        let mut distance = distances[low_bits(bits.buffer, DISTANCE_BITS)];
        if distance & EXCEPTION != 0 {
            if distance & INVALID != 0 {
                break Err(Damage::Code);
            }
            skip(&mut bits, DISTANCE_BITS);
            distance = distances[subtable_index(distance, bits.buffer) % DISTANCE_ENTRIES];
            if distance & EXCEPTION != 0 {
                break Err(Damage::Code);
            }
        }
        let offset = value(distance, bits.buffer);
        skip(&mut bits, distance);
        if offset > at - oldest {
            break Err(Damage::Distance);
        }
        // A block has room for all its matches, which have at least three bytes.
        if let Some(token) = tokens.get_mut(count) {
            *token = Token::new(at, length, offset);
        }
        count += 1;
        // The next entry is loaded while the match is copied.
        // SAFETY: (1), the second refill of the turn.
        unsafe { refill(&mut bits, source) };
        entry = literals[low_bits(bits.buffer, LITERAL_BITS)];
        // SAFETY: `offset` is at most `at`, and a length at most 258. (2).
        unsafe { copy_match(bytes, at, offset, length) };
        at += length;
        if at >= limit {
            break Ok(Stop::Full);
        }
        if bits.next > load_limit {
            break Ok(Stop::Input);
        }
    };
    *end = at;
    *token_count = count;
    bits.count &= 63;
    input.bits = bits;
    result
}

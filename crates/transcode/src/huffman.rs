//! Decoding tables of deflate's three codes (RFC 1951, 3.2).
//!
//! A table has 2^n entries, one for each value of the next n bits, and subtables for longer codes. An entry
//! holds all that the decoder needs for a symbol, so that a symbol costs one lookup:
//!
//! | bits | literal | length or distance | pointer to a subtable | end of block, or no symbol |
//! |---|---|---|---|---|
//! | 31 | 1 | 0 (distance: part of base) | 0 | 0 |
//! | 16–30 | byte | base value | start of the subtable | 0 |
//! | 15 | 0 | 0 | 1 | 1 |
//! | 14, 13 | 0 | 0 | 0 | end of block, no symbol |
//! | 8–11 | | length of the code | bits of the subtable | |
//! | 0–7 | length of the code | length of the code and extra bits | bits of the table | length of the code |

use super::error::Damage;

/// Bits of the table of literals and lengths.
pub(crate) const LITERAL_BITS: u32 = 11;
/// Bits of the table of distances.
pub(crate) const DISTANCE_BITS: u32 = 8;
/// Bits of the table of code lengths. Its codes aren't longer, so that the table has no subtable.
pub(crate) const PRECODE_BITS: u32 = 7;
/// Entries of the table of literals and lengths. At most 2342 are used (zlib's `enough 286 11 15`: 2,298 for
/// 286 symbols), a power of two lets the compiler drop bounds checks.
pub(crate) const LITERAL_ENTRIES: usize = 4096;
/// Entries of the table of distances. At most 402 are used (`enough 30 8 15`).
pub(crate) const DISTANCE_ENTRIES: usize = 512;
/// Entries of the table of code lengths.
pub(crate) const PRECODE_ENTRIES: usize = 1 << PRECODE_BITS;
/// Longest code in bits.
const MAX_BITS: usize = 15;

/// Flag of a literal. Only in the table of literals and lengths.
pub(crate) const LITERAL: u32 = 1 << 31;
/// Flag of an entry that is neither literal, length nor distance.
pub(crate) const EXCEPTION: u32 = 1 << 15;
/// Flag of the end of a block, with [`EXCEPTION`].
pub(crate) const END_OF_BLOCK: u32 = 1 << 14;
/// Flag of an unused code, with [`EXCEPTION`].
pub(crate) const INVALID: u32 = 1 << 13;

/// Entries of the symbols, without the lengths of their codes.
static LITERAL_SYMBOLS: [u32; 288] = literal_symbols();
static DISTANCE_SYMBOLS: [u32; 32] = distance_symbols();
static PRECODE_SYMBOLS: [u32; 19] = precode_symbols();

/// Symbols of literals and lengths: 256 literals, the end of the block, 29 lengths with 0 to 5 extra bits.
const fn literal_symbols() -> [u32; 288] {
    let mut symbols = [EXCEPTION | INVALID; 288];
    let mut symbol = 0;
    while symbol < 256 {
        symbols[symbol as usize] = LITERAL | symbol << 16;
        symbol += 1;
    }
    symbols[256] = EXCEPTION | END_OF_BLOCK;
    let mut base = 3;
    while symbol < 284 {
        // Symbols 257 to 264 have no extra bits, then four symbols each have one more.
        let extra = if symbol < 264 { 0 } else { (symbol - 260) / 4 };
        symbols[symbol as usize + 1] = base << 16 | extra;
        base += 1 << extra;
        symbol += 1;
    }
    symbols[285] = 258 << 16;
    symbols
}

/// Symbols of distances: 30 distances with 0 to 13 extra bits.
const fn distance_symbols() -> [u32; 32] {
    let mut symbols = [EXCEPTION | INVALID; 32];
    let (mut symbol, mut base) = (0, 1);
    while symbol < 30 {
        let extra = if symbol < 2 { 0 } else { symbol / 2 - 1 };
        symbols[symbol as usize] = base << 16 | extra;
        base += 1 << extra;
        symbol += 1;
    }
    symbols
}

/// Symbols of code lengths: their number.
const fn precode_symbols() -> [u32; 19] {
    let mut symbols = [0; 19];
    let mut symbol = 0;
    while symbol < 19 {
        symbols[symbol as usize] = symbol << 16;
        symbol += 1;
    }
    symbols
}

/// Codes that leave values without a symbol.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Incomplete {
    /// None.
    Refused,
    /// A single code of one bit, as zlib accepts it, and for distances also no code at all.
    Single,
}

/// The tables of one deflate block.
pub(crate) struct Tables {
    /// Literals and lengths.
    pub(crate) literals: [u32; LITERAL_ENTRIES],
    /// Distances.
    pub(crate) distances: [u32; DISTANCE_ENTRIES],
}

impl Tables {
    pub(crate) fn new() -> Self {
        Self { literals: [0; LITERAL_ENTRIES], distances: [0; DISTANCE_ENTRIES] }
    }

    /// Builds the tables of a dynamic block.
    pub(crate) fn build(&mut self, literals: &[u8], distances: &[u8]) -> Result<(), Damage> {
        if literals.get(256).is_none_or(|length| *length == 0) {
            return Err(Damage::CodeLengths);
        }
        build(literals, &LITERAL_SYMBOLS, LITERAL_BITS, Incomplete::Single, &mut self.literals)?;
        build(distances, &DISTANCE_SYMBOLS, DISTANCE_BITS, Incomplete::Single, &mut self.distances)
    }

    /// Builds the tables of a block with fixed codes (RFC 1951, 3.2.6).
    pub(crate) fn build_fixed(&mut self) -> Result<(), Damage> {
        let mut literals = [8; 288];
        literals[144..256].fill(9);
        literals[256..280].fill(7);
        self.build(&literals, &[5; 32])
    }
}

/// Builds the table of code lengths.
pub(crate) fn build_precode(lengths: &[u8; 19]) -> Result<[u32; PRECODE_ENTRIES], Damage> {
    let mut table = [0; PRECODE_ENTRIES];
    build(lengths, &PRECODE_SYMBOLS, PRECODE_BITS, Incomplete::Refused, &mut table)?;
    Ok(table)
}

/// Reverses the lowest `bits` bits. Deflate packs codes with the most significant bit first.
fn reverse(code: u32, bits: u32) -> usize {
    (code.reverse_bits() >> (32 - bits)) as usize
}

/// Number of codes of each length. Fails if the lengths don't describe a code.
fn count_lengths(lengths: &[u8], incomplete: Incomplete) -> Result<[u32; MAX_BITS + 1], Damage> {
    let mut counts = [0; MAX_BITS + 1];
    for length in lengths {
        counts[usize::from(*length)] += 1;
    }
    counts[0] = 0;
    let mut left = 1_u32;
    for count in &counts[1..] {
        left = (left << 1).checked_sub(*count).ok_or(Damage::CodeLengths)?;
    }
    let total: u32 = counts.iter().sum();
    let is_single = total == 0 || (total == 1 && counts[1] == 1);
    if left > 0 && !(incomplete == Incomplete::Single && is_single) {
        return Err(Damage::CodeLengths);
    }
    Ok(counts)
}

/// Builds a table: first the entries of short codes, then the subtables.
fn build(
    lengths: &[u8],
    symbols: &[u32],
    table_bits: u32,
    incomplete: Incomplete,
    table: &mut [u32],
) -> Result<(), Damage> {
    let counts = count_lengths(lengths, incomplete)?;
    let size = 1 << table_bits;
    if counts.iter().sum::<u32>() < 2 {
        table[..size].fill(EXCEPTION | INVALID);
    }
    // Symbols by length of their code, then by number.
    let mut starts = [0_u32; MAX_BITS + 2];
    for (bits, count) in counts.iter().enumerate() {
        starts[bits + 1] = starts[bits] + count;
    }
    let mut sorted = [0_u32; 320];
    for (symbol, length) in symbols.iter().zip(lengths) {
        if *length > 0 {
            let start = &mut starts[usize::from(*length)];
            sorted[*start as usize] = *symbol;
            *start += 1;
        }
    }
    let mut sorted = sorted.iter();
    let mut code = 0;
    for bits in 1..=table_bits {
        for symbol in sorted.by_ref().take(counts[bits as usize] as usize) {
            let entry = symbol + bits * 0x101;
            for slot in table[reverse(code, bits)..size].iter_mut().step_by(1 << bits) {
                *slot = entry;
            }
            code += 1;
        }
        code <<= 1;
    }
    build_subtables(&counts, code, table_bits, sorted, table)
}

/// Builds the subtables of codes longer than `table_bits`. `code` is the first such code.
fn build_subtables<'a>(
    counts: &[u32; MAX_BITS + 1],
    mut code: u32,
    table_bits: u32,
    mut sorted: impl Iterator<Item = &'a u32>,
    table: &mut [u32],
) -> Result<(), Damage> {
    let (mut start, mut next) = (0, 1 << table_bits);
    let mut prefix = None;
    for bits in table_bits + 1..=15 {
        for remaining in (1..=counts[bits as usize]).rev() {
            let rest = bits - table_bits;
            let code_prefix = reverse(code >> rest, table_bits);
            if prefix != Some(code_prefix) {
                // The subtable has room for all codes that start with the prefix.
                prefix = Some(code_prefix);
                let mut subtable_bits = rest;
                let mut codes = remaining;
                while subtable_bits + table_bits < 15 && codes < 1 << subtable_bits {
                    subtable_bits += 1;
                    codes = (codes << 1) + counts[(subtable_bits + table_bits) as usize];
                }
                start = next;
                next += 1 << subtable_bits;
                if next > table.len() {
                    return Err(Damage::CodeLengths);
                }
                table[code_prefix] = EXCEPTION | entry_value(start) | subtable_bits << 8 | table_bits;
            }
            let symbol = sorted.next().ok_or(Damage::CodeLengths)?;
            let entry = symbol + rest * 0x101;
            let first = start + reverse(code & ((1 << rest) - 1), rest);
            for slot in table[first..next].iter_mut().step_by(1 << rest) {
                *slot = entry;
            }
            code += 1;
        }
        code <<= 1;
    }
    Ok(())
}

/// The start of a subtable, as bits 16 to 30 of an entry.
fn entry_value(start: usize) -> u32 {
    u32::try_from(start).unwrap_or(0) << 16
}

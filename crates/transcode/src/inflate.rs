//! Deflate blocks (RFC 1951): headers, stored blocks, and the order of blocks.

use super::error::Damage;
use super::huffman::{self, Tables};
use super::inflate_loop::{self, Stop};
use super::input::Input;
use super::output::Output;
use super::tokens::Tokens;

/// Largest number of bytes of a dynamic block's header: 14 bits, 19 code lengths of 3 bits, and 316 code
/// lengths of at most 7 + 7 bits. One byte more for the bits in front.
const MAX_HEADER_BYTES: usize = 564;
/// Order of the code lengths in a header (RFC 1951, 3.2.7).
const PRECODE_ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
/// Largest numbers of literal and length codes, and of distance codes, that a header may announce.
const MAX_LITERALS: usize = 286;
const MAX_DISTANCES: usize = 30;

/// The reason why the inflater stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The input ends before the next symbol or header.
    NeedInput,
    /// The output has reached its limit.
    Full,
    /// The deflate stream has ended.
    Ended,
}

/// The next bytes of the stream.
#[derive(Clone, Copy)]
enum State {
    Header,
    Symbols,
    /// Bytes of a stored block, with their number.
    Stored(usize),
    Ended,
}

/// Decodes one deflate stream after another.
pub(crate) struct Inflater {
    state: State,
    is_last_block: bool,
    has_fixed_tables: bool,
    tables: Box<Tables>,
}

impl Inflater {
    pub(crate) fn new() -> Self {
        let tables = Box::new(Tables::new());
        Self { state: State::Header, is_last_block: false, has_fixed_tables: false, tables }
    }

    /// Starts a new deflate stream.
    pub(crate) fn start(&mut self) {
        self.state = State::Header;
        self.is_last_block = false;
    }

    /// Decodes until the output's end reaches index `limit` or the input ends. Writes at most 261 bytes
    /// more than `limit`, and 64 bytes behind that. Matches start at index `oldest` or later.
    pub(crate) fn run(
        &mut self,
        input: &mut Input,
        output: &mut Output,
        tokens: &mut Tokens,
        oldest: usize,
        limit: usize,
    ) -> Result<Progress, Damage> {
        loop {
            match self.state {
                State::Ended => return Ok(Progress::Ended),
                State::Header if self.is_last_block => {
                    input.align();
                    self.state = State::Ended;
                }
                State::Header => {
                    if !input.can_read(MAX_HEADER_BYTES) {
                        return Ok(Progress::NeedInput);
                    }
                    let state = self.read_header(input);
                    // A header read from the padding is damage of another kind.
                    if input.is_overrun() {
                        return Err(Damage::Truncated);
                    }
                    self.state = state?;
                }
                State::Stored(0) => self.state = State::Header,
                State::Stored(remaining) => {
                    let (bytes, end) = output.parts();
                    let source = input.rest();
                    let count = remaining.min(source.len()).min(limit.saturating_sub(*end));
                    bytes[*end..*end + count].copy_from_slice(&source[..count]);
                    *end += count;
                    self.state = State::Stored(remaining - count);
                    input.consume(count);
                    if *end >= limit {
                        return Ok(Progress::Full);
                    }
                    if count < remaining {
                        return if input.is_final() {
                            Err(Damage::Truncated)
                        } else {
                            Ok(Progress::NeedInput)
                        };
                    }
                }
                State::Symbols => {
                    let stop = inflate_loop::run(&self.tables, input, output, tokens, oldest, limit);
                    if input.is_overrun() {
                        return Err(Damage::Truncated);
                    }
                    match stop? {
                        Stop::EndOfBlock => self.state = State::Header,
                        Stop::Full => return Ok(Progress::Full),
                        Stop::Input if input.is_final() => return Err(Damage::Truncated),
                        Stop::Input => return Ok(Progress::NeedInput),
                    }
                }
            }
        }
    }

    /// Reads a block's header, and returns the state behind it.
    fn read_header(&mut self, input: &mut Input) -> Result<State, Damage> {
        input.refill();
        self.is_last_block = input.bits.take(1) == 1;
        match input.bits.take(2) {
            0 => {
                input.align();
                input.refill();
                let (length, complement) = (input.bits.take(16), input.bits.take(16));
                input.align();
                if length == complement ^ 0xffff {
                    Ok(State::Stored(length))
                } else {
                    Err(Damage::StoredLength)
                }
            }
            1 => {
                if !self.has_fixed_tables {
                    self.tables.build_fixed()?;
                    self.has_fixed_tables = true;
                }
                Ok(State::Symbols)
            }
            2 => {
                self.has_fixed_tables = false;
                self.read_codes(input)?;
                Ok(State::Symbols)
            }
            _ => Err(Damage::BlockType),
        }
    }

    /// Reads the codes of a dynamic block (RFC 1951, 3.2.7).
    fn read_codes(&mut self, input: &mut Input) -> Result<(), Damage> {
        let literals = input.bits.take(5) + 257;
        let distances = input.bits.take(5) + 1;
        let precodes = input.bits.take(4) + 4;
        if literals > MAX_LITERALS || distances > MAX_DISTANCES {
            return Err(Damage::CodeLengths);
        }
        let mut precode = [0; 19];
        for index in PRECODE_ORDER.into_iter().take(precodes) {
            input.refill();
            precode[index] = u8::try_from(input.bits.take(3)).unwrap_or_default();
        }
        let table = huffman::build_precode(&precode)?;
        let mut lengths = [0_u8; MAX_LITERALS + MAX_DISTANCES];
        let lengths = &mut lengths[..literals + distances];
        let mut index = 0;
        while index < lengths.len() {
            input.refill();
            if input.is_overrun() {
                return Err(Damage::Truncated);
            }
            let entry = table[(input.bits.buffer & 0x7f) as usize];
            input.bits.skip(entry & 0xff);
            let (length, repeats) = match entry >> 16 {
                16 if index == 0 => return Err(Damage::CodeLengths),
                16 => (lengths[index - 1], 3 + input.bits.take(2)),
                17 => (0, 3 + input.bits.take(3)),
                18 => (0, 11 + input.bits.take(7)),
                length => (u8::try_from(length).unwrap_or_default(), 1),
            };
            lengths.get_mut(index..index + repeats).ok_or(Damage::CodeLengths)?.fill(length);
            index += repeats;
        }
        let (literals, distances) = lengths.split_at(literals);
        self.tables.build(literals, distances)
    }
}

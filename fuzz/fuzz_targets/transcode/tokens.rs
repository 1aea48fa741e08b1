//! Deflate streams of any symbols in any code, as no encoder writes them.

use super::bits::{BitWriter, Code};
use super::input::{Input, noise};
use super::reference::append_trailer;
use super::stream::HEADER;

/// Largest numbers of plain bytes and tokens of a recipe.
const PLAIN_MAX: usize = 1400 << 10;
const TOKENS_MAX: usize = 100_000;
/// Numbers of symbols of the two codes, and the symbol that ends a block.
const LITERALS: usize = 286;
const DISTANCES: usize = 30;
const END: usize = 256;
/// Largest distance, and shortest and longest match.
const MAX_DISTANCE: usize = 32 << 10;
const MIN_LENGTH: usize = 3;
const MAX_LENGTH: usize = 258;

#[derive(Clone, Copy)]
enum Token {
    Literal(u8),
    Match { length: usize, distance: usize },
}

/// The symbol of a value whose symbols have 0, 0, .., 1, 1, .. extra bits, with the value and number of its extra
/// bits. The first `plain` symbols have none, and every further group of `group` symbols has one more.
fn symbol(value: usize, plain: usize, group: usize) -> (usize, usize, u32) {
    let (mut symbol, mut base, mut extra) = (0, 0, 0);
    loop {
        if symbol >= plain && (symbol - plain).is_multiple_of(group) {
            extra += 1;
        }
        if value < base + (1 << extra) {
            return (symbol, value - base, extra);
        }
        base += 1 << extra;
        symbol += 1;
    }
}

fn length_symbol(length: usize) -> (usize, usize, u32) {
    if length == MAX_LENGTH {
        return (285, 0, 0);
    }
    let (symbol, value, extra) = symbol(length - MIN_LENGTH, 8, 4);
    (257 + symbol, value, extra)
}

fn distance_symbol(distance: usize) -> (usize, usize, u32) {
    symbol(distance - 1, 4, 2)
}

/// The member in work.
#[derive(Default)]
struct Member {
    plain: Vec<u8>,
    tokens: Vec<Token>,
    /// Number of tokens and plain bytes before the block in work.
    block_tokens: usize,
    block_plain: usize,
}

impl Member {
    fn push(&mut self, token: Token) {
        if self.plain.len() > PLAIN_MAX || self.tokens.len() > TOKENS_MAX {
            return;
        }
        match token {
            Token::Literal(byte) => self.plain.push(byte),
            Token::Match { length, distance } => {
                let Some(start) = self.plain.len().checked_sub(distance) else { return };
                for at in start..start + length {
                    self.plain.push(self.plain[at]);
                }
            }
        }
        self.tokens.push(token);
    }

    fn push_match(&mut self, length: usize, distance: usize) {
        let most = self.plain.len().min(MAX_DISTANCE);
        if most > 0 {
            self.push(Token::Match {
                length: MIN_LENGTH + length % (MAX_LENGTH - MIN_LENGTH + 1),
                distance: 1 + distance % most,
            });
        }
    }

    /// Writes the block in work, whose kind `choice` decides.
    fn write_block(&mut self, is_last: bool, choice: u8, writer: &mut BitWriter<'_>) {
        let (tokens, plain) = (&self.tokens[self.block_tokens..], &self.plain[self.block_plain..]);
        match choice % 8 {
            0 => {
                for (number, part) in plain.chunks(1 + usize::from(choice) * 257).enumerate() {
                    let is_last = is_last && (number + 1) * (1 + usize::from(choice) * 257) >= plain.len();
                    write_stored(part, is_last, writer);
                }
                if plain.is_empty() {
                    write_stored(plain, is_last, writer);
                }
            }
            1 => {
                writer.bits(usize::from(is_last) | 1 << 1, 3);
                write_tokens(tokens, &fixed_code(), &Code::new(vec![5; DISTANCES]), writer);
            }
            _ => write_dynamic(tokens, is_last, choice, writer),
        }
        (self.block_tokens, self.block_plain) = (self.tokens.len(), self.plain.len());
    }
}

fn write_stored(part: &[u8], is_last: bool, writer: &mut BitWriter<'_>) {
    writer.bits(is_last.into(), 3);
    writer.align();
    writer.bits(part.len(), 16);
    writer.bits(part.len() ^ 0xffff, 16);
    writer.bytes(part);
}

fn fixed_code() -> Code {
    let length = |symbol| match symbol {
        0..144 => 8,
        144..256 => 9,
        256..280 => 7,
        _ => 8,
    };
    Code::new((0..288).map(length).collect())
}

fn write_dynamic(tokens: &[Token], is_last: bool, choice: u8, writer: &mut BitWriter<'_>) {
    let (mut literals, mut distances) = ([false; LITERALS], [false; DISTANCES]);
    literals[END] = true;
    for token in tokens {
        match *token {
            Token::Literal(byte) => literals[usize::from(byte)] = true,
            Token::Match { length, distance } => {
                literals[length_symbol(length).0] = true;
                distances[distance_symbol(distance).0] = true;
            }
        }
    }
    let mut choices = noise(usize::from(choice));
    // Symbols that have a code and don't occur.
    for used in literals.iter_mut().chain(&mut distances) {
        *used |= choices.next().is_some_and(|byte| byte < choice / 4);
    }
    let literals = Code::of_symbols(&literals, &mut choices);
    let mut distances = Code::of_symbols(&distances, &mut choices);
    if tokens.iter().all(|token| matches!(token, Token::Literal(_))) && choice >= 128 {
        distances = Code::new(vec![0; DISTANCES]);
    }
    writer.bits(usize::from(is_last) | 2 << 1, 3);
    writer.bits(LITERALS - 257, 5);
    writer.bits(DISTANCES - 1, 5);
    writer.bits(19 - 4, 4);
    // The code of code lengths has four bits for each of the lengths 0 to 15.
    for symbol in [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15] {
        writer.bits(if symbol < 16 { 4 } else { 0 }, 3);
    }
    let lengths = Code::new(vec![4; 16]);
    for length in literals.lengths.iter().chain(&distances.lengths) {
        lengths.write((*length).into(), writer);
    }
    write_tokens(tokens, &literals, &distances, writer);
}

fn write_tokens(tokens: &[Token], literals: &Code, distances: &Code, writer: &mut BitWriter<'_>) {
    for token in tokens {
        match *token {
            Token::Literal(byte) => literals.write(byte.into(), writer),
            Token::Match { length, distance } => {
                let (symbol, value, extra) = length_symbol(length);
                literals.write(symbol, writer);
                writer.bits(value, extra);
                let (symbol, value, extra) = distance_symbol(distance);
                distances.write(symbol, writer);
                writer.bits(value, extra);
            }
        }
    }
    literals.write(END, writer);
}

/// A member of the recipe's tokens.
pub(crate) fn write(input: &mut Input<'_>) -> Vec<u8> {
    let (mut gzip, mut member) = (HEADER.to_vec(), Member::default());
    let mut writer = BitWriter::new(&mut gzip);
    while !input.is_empty() {
        let operation = input.byte();
        match operation {
            0..64 => {
                for byte in input.bytes(1 + usize::from(operation) % 16) {
                    member.push(Token::Literal(*byte));
                }
            }
            64..96 => {
                let (seed, count) = (usize::from(input.byte()), input.short() / 4);
                noise(seed).take(count).for_each(|byte| member.push(Token::Literal(byte)));
            }
            96..144 => {
                let (length, distance) = (input.byte(), input.short());
                member.push_match(length.into(), distance);
            }
            // Offsets that zstd assumes at a frame's start, and other short ones.
            144..160 => {
                let length = input.byte();
                member.push_match(length.into(), [0, 3, 7, 1, 2, 15, 16, 31][usize::from(operation) % 8]);
            }
            // Many matches with a literal between them or none.
            160..184 => {
                let (seed, count) = (usize::from(input.byte()), input.short() / 16);
                let mut choices = noise(seed);
                for _ in 0..count {
                    let [length, low, high, literal] = [(); 4].map(|()| choices.next().unwrap_or(0));
                    member.push_match((length % 32).into(), usize::from(low) | usize::from(high) << 8);
                    if literal < operation {
                        member.push(Token::Literal(literal));
                    }
                }
            }
            // The last token again, so that matches of one offset are neighbours.
            184..200 => {
                let count = input.byte();
                if let Some(token) = member.tokens.last().copied() {
                    (0..count).for_each(|_| member.push(token));
                }
            }
            // Earlier tokens again: most are a repetition of the same bytes, farther away than deflate's window.
            200..232 => {
                let (start, count) = (input.short() * usize::from(operation % 8), input.short() / 2);
                let start = start.min(member.tokens.len());
                let end = (start + count).min(member.tokens.len());
                for index in start..end {
                    let token = member.tokens[index];
                    member.push(token);
                }
            }
            _ => {
                let choice = input.byte();
                member.write_block(false, choice, &mut writer);
            }
        }
    }
    let choice = member.plain.last().map_or(1, |byte| byte.wrapping_mul(7));
    member.write_block(true, choice, &mut writer);
    writer.align();
    append_trailer(&mut gzip, &member.plain);
    gzip
}

//! Gzip streams made of an input.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::MAX_PLAIN;
use super::input::{Input, noise};
use super::reference::{append_body, repair};
use super::tokens;

/// A member's header without optional fields.
pub(crate) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// Largest number of plain bytes of a recipe: several segments.
const RECIPE_MAX: usize = 1 << 20;

/// A gzip stream. An input that starts with gzip's magic is one. The first byte of other inputs chooses what the
/// rest is: a deflate stream, deflate's symbols, or content for zlib-rs's encoder.
pub(crate) fn build(stream: &[u8], is_repaired: bool) -> Vec<u8> {
    if stream.starts_with(&[0x1f, 0x8b]) {
        return if is_repaired { repair(stream, MAX_PLAIN) } else { stream.to_vec() };
    }
    let mut input = Input(stream);
    match input.byte() % 4 {
        // Any bytes are a deflate stream up to its end or the first damage.
        0 => {
            let mut gzip = HEADER.to_vec();
            append_body(&mut gzip, input.0, MAX_PLAIN);
            gzip
        }
        1 => tokens::write(&mut input),
        _ => encode(&mut input),
    }
}

/// Members of random content that zlib-rs encodes.
fn encode(input: &mut Input<'_>) -> Vec<u8> {
    let (mut gzip, mut plain, mut total) = (Vec::new(), Vec::new(), 0);
    while !input.is_empty() && total + plain.len() < RECIPE_MAX {
        let operation = input.byte();
        match operation % 8 {
            0 | 1 => {
                let count = 1 + usize::from(operation / 8);
                plain.extend_from_slice(input.bytes(count));
            }
            2 => {
                let (seed, count) = (usize::from(input.byte()), input.short());
                plain.extend(noise(seed).take(count));
            }
            // Few different bytes.
            3 => {
                let (seed, count) = (usize::from(input.byte()), input.short());
                plain.extend(noise(seed).map(|byte| b'a' + byte % (1 + operation / 8)).take(count));
            }
            // A repetition of any distance, once or several times.
            4 | 5 => {
                let (distance, length) = (input.short(), input.short());
                let distance = if operation >= 128 { distance * 64 } else { distance };
                copy(&mut plain, 1 + distance, length, 1 + usize::from(operation / 32));
            }
            6 => {
                let (period, count) = (1 + usize::from(operation / 8), input.short() * 4);
                copy(&mut plain, period, count, 1);
            }
            _ => {
                total += plain.len();
                append_member(&mut gzip, &mut plain, operation / 8 % 10);
            }
        }
    }
    let level = stream_level(&plain);
    append_member(&mut gzip, &mut plain, level);
    gzip
}

/// Appends `times` copies of `length` bytes, `distance` bytes back, each with another byte behind it.
fn copy(plain: &mut Vec<u8>, distance: usize, length: usize, times: usize) {
    for time in 0..times {
        let Some(start) = plain.len().checked_sub(distance) else { return };
        for at in start..start + length {
            plain.push(plain[at]);
        }
        plain.push(time as u8);
    }
}

fn stream_level(plain: &[u8]) -> u8 {
    plain.last().map_or(6, |last| last % 10)
}

fn append_member(gzip: &mut Vec<u8>, plain: &mut Vec<u8>, level: u8) {
    let mut encoder = GzEncoder::new(gzip, Compression::new(level.into()));
    encoder.write_all(plain).expect("a vector takes all bytes");
    encoder.finish().expect("a vector takes all bytes");
    plain.clear();
}

//! Codes and symbols at their limits, and codes that are refused.

use super::super::Damage;
use super::deflate::BitWriter;
use super::support::{assert_transcodes, damage, member, reference, text, transcode_all};

/// Lengths of a literal code with all of a 1-bit code for `first` and a 2-bit code each for `second` and the end.
fn small_code(first: usize, second: usize) -> Vec<u8> {
    let mut lengths = vec![0; 286];
    lengths[first] = 1;
    lengths[second] = 2;
    lengths[256] = 2;
    lengths
}

#[test]
fn every_length_is_decoded() {
    for length in 3..=258_usize {
        let plain = [&b"abcdefg"[..], &b"abcdefg".repeat(40)[..length]].concat();
        let mut writer = BitWriter::default();
        writer.bits(1, 1).bits(1, 2).fixed_literals(b"abcdefg");
        let (mut symbol, mut base, mut extra) = (257, 3, 0);
        while symbol < 284 && base + (1 << extra) <= length {
            base += 1 << extra;
            symbol += 1;
            extra = if symbol < 265 { 0 } else { (symbol - 261) / 4 };
        }
        let (symbol, base, extra) = if length == 258 { (285, 258, 0) } else { (symbol, base, extra) };
        writer.fixed(symbol).bits(u32::try_from(length - base).unwrap(), extra);
        // Distance 7 is symbol 5 with the extra bit 0.
        writer.code(5, 5).bits(0, 1).fixed(256);
        let gzip = member(&writer.finish(), &plain);
        assert_eq!(reference(&gzip).as_deref(), Some(&plain[..]), "{length}");
        assert_transcodes(&gzip, &plain);
    }
}

#[test]
fn every_distance_symbol_is_decoded() {
    let before = text(10, 32_768);
    let (mut base, mut writer, mut plain) = (1, BitWriter::default(), before.clone());
    writer.bits(1, 1).bits(1, 2).fixed_literals(&before);
    for symbol in 0..30_u32 {
        let extra = if symbol < 2 { 0 } else { symbol / 2 - 1 };
        for distance in [base, base + (1 << extra) - 1] {
            // Length 3 and length 4.
            for length in [3, 4] {
                writer.fixed(254 + length).code(symbol, 5).bits(distance - base, extra);
                for _ in 0..length {
                    plain.push(plain[plain.len() - distance as usize]);
                }
            }
        }
        base += 1 << extra;
    }
    assert_eq!(base, 32_769);
    writer.fixed(256);
    let gzip = member(&writer.finish(), &plain);
    assert_eq!(reference(&gzip).as_deref(), Some(&plain[..]));
    assert_transcodes(&gzip, &plain);
}

#[test]
fn distance_before_the_member_is_refused() {
    // The second member's match would start in the first member.
    let first = member(
        BitWriter::default().bits(3, 3).fixed_literals(b"abcdef").fixed(256).finish().as_slice(),
        b"abcdef",
    );
    for (literals, is_good) in [(&b"abc"[..], true), (b"ab", false)] {
        let mut writer = BitWriter::default();
        // Length 3 at distance 3.
        writer.bits(3, 3).fixed_literals(literals).fixed(257).code(2, 5).fixed(256);
        let gzip = [&first[..], &member(&writer.finish(), b"abcabc")].concat();
        if is_good {
            assert_transcodes(&gzip, b"abcdefabcabc");
        } else {
            assert_eq!(damage(&gzip), Damage::Distance);
        }
    }
}

#[test]
fn invalid_symbols_are_refused() {
    let mut long = BitWriter::default();
    long.bits(3, 3).fixed_literals(b"abcdef").fixed(286).code(2, 5).fixed(256);
    let mut far = BitWriter::default();
    far.bits(3, 3).fixed_literals(b"abcdef").fixed(257).code(30, 5).fixed(256);
    for mut writer in [long, far] {
        assert_eq!(damage(&member(&writer.finish(), b"abcdefabc")), Damage::Code);
    }
}

#[test]
fn reserved_block_type_is_refused() {
    assert_eq!(damage(&member(&[7, 0], b"")), Damage::BlockType);
}

#[test]
fn codes_of_one_symbol_are_accepted_as_by_zlib() {
    // Only the end of the block has a code, and no distance has.
    let mut lengths = vec![0; 257];
    lengths[256] = 1;
    let end = BitWriter::default().dynamic(true, &lengths, &[0]).bits(0, 1).finish();
    assert_transcodes(&member(&end, b""), b"");
    // A single distance, 1, has a code of one bit.
    let plain = b"xxxx";
    let mut writer = BitWriter::default();
    writer.dynamic(true, &small_code(usize::from(b'x'), 257), &[1]);
    writer.code(0, 1).code(3, 2).code(0, 1).code(2, 2);
    let gzip = member(&writer.finish(), plain);
    assert_eq!(reference(&gzip).as_deref(), Some(&plain[..]));
    assert_transcodes(&gzip, plain);
    // The other value of that bit is no code.
    let mut writer = BitWriter::default();
    writer.dynamic(true, &small_code(usize::from(b'x'), 257), &[1]);
    writer.code(0, 1).code(3, 2).code(1, 1).code(2, 2);
    assert_eq!(damage(&member(&writer.finish(), plain)), Damage::Code);
}

#[test]
fn incomplete_and_oversubscribed_codes_are_refused() {
    let with = |changes: &[(usize, u8)]| {
        let mut lengths = small_code(usize::from(b'x'), 257);
        for (symbol, length) in changes {
            lengths[*symbol] = *length;
        }
        lengths
    };
    let good: &[u8] = &[1, 1];
    for (literals, distances) in [
        (with(&[(usize::from(b'x'), 2)]), good),
        (with(&[(usize::from(b'y'), 2)]), good),
        (with(&[(256, 0)]), good),
        (with(&[]), &[1, 1, 1]),
        (with(&[]), &[2, 2, 2]),
        (with(&[]), &[2]),
    ] {
        let stream = BitWriter::default().dynamic(true, &literals, distances).bits(u32::MAX, 32).finish();
        assert_eq!(damage(&member(&stream, b"")), Damage::CodeLengths);
    }
}

#[test]
fn too_many_codes_are_refused() {
    for (literals, distances) in [(287 - 257, 0), (0, 31 - 1)] {
        let stream =
            BitWriter::default().bits(5, 3).bits(literals, 5).bits(distances, 5).bits(0, 32).finish();
        assert_eq!(damage(&member(&stream, b"")), Damage::CodeLengths);
    }
}

#[test]
fn codes_of_fifteen_bits_are_decoded() {
    // Lengths 1 to 14, and 15 twice: 'a' to 'p', except that the last one is the end of the block.
    let mut lengths = vec![0; 257];
    for length in 1..=15_u8 {
        lengths[usize::from(b'a' + length - 1)] = length;
    }
    lengths[256] = 15;
    let mut writer = BitWriter::default();
    writer.dynamic(true, &lengths, &[0]);
    let plain = b"abcdefghijklmno".repeat(300);
    for byte in &plain {
        let length = u32::from(byte - b'a' + 1);
        writer.code((1 << length) - 2, length);
    }
    writer.code((1 << 15) - 1, 15);
    let gzip = member(&writer.finish(), &plain);
    assert_eq!(reference(&gzip).as_deref(), Some(&plain[..]));
    assert_transcodes(&gzip, &plain);
    assert!(transcode_all(&gzip).unwrap().frame.len() < gzip.len() + 100);
}

//! The steps up to the checked sequences. They call no C code, so that Miri runs these tests (`make miri`).

use super::super::far::FarMatcher;
use super::super::front::{Front, PlainBlock};
use super::super::segment::{MAX_BYTES, Segment};
use super::super::sequence::Sequence;
use super::super::window::Window;
use super::super::{Damage, TranscodeError};
use super::deflate::BitWriter;
use super::support::{gzip_at, member, noise, reference, text};

/// The bytes that sequences describe. `literals` are the plain bytes, of which only literals are used.
fn execute(sequences: &[Sequence], literals: &[u8], before: &[u8]) -> Vec<u8> {
    let mut plain = before.to_vec();
    for sequence in sequences {
        let count = plain.len() - before.len();
        plain.extend_from_slice(&literals[count..count + sequence.literals as usize]);
        for _ in 0..sequence.length {
            plain.push(plain[plain.len() - sequence.offset as usize]);
        }
    }
    plain
}

/// The second stage without zstd.
struct Sequences {
    window: Window,
    far: FarMatcher,
    segment: Segment,
    /// The bytes that all sequences describe.
    plain: Vec<u8>,
}

impl Sequences {
    fn push(&mut self, block: PlainBlock<'_>) {
        let Self { window, far, segment, plain } = self;
        let far_block = window.append(block.plain);
        let (sequences, first) = segment.sequences();
        let literals = far.rewrite(far_block, block.tokens, block.first, sequences);
        segment.end_block(far_block, first, literals).unwrap();
        let checked = segment.checked(window).unwrap();
        *plain = execute(checked.sequences(), checked.plain(), plain);
        segment.start_next();
    }
}

/// Reads a gzip stream in pieces, and returns the bytes that its checked sequences describe.
fn plain_of_sequences(gzip: &[u8], piece_bytes: usize) -> Result<Vec<u8>, TranscodeError> {
    let mut front = Front::new(u64::MAX);
    let mut sequences = Sequences {
        window: Window::new(MAX_BYTES).unwrap(),
        far: FarMatcher::new(),
        segment: Segment::new(),
        plain: Vec::new(),
    };
    for mut piece in gzip.chunks(piece_bytes) {
        while !piece.is_empty() {
            front.fill(&mut piece);
            while front.run(&mut |_| Ok(()))? {
                sequences.push(front.block());
            }
        }
    }
    front.set_final();
    while front.run(&mut |_| Ok(()))? {
        sequences.push(front.block());
    }
    front.finish()?;
    sequences.push(front.block());
    Ok(sequences.plain)
}

#[test]
#[cfg_attr(miri, ignore = "Miri refuses how zlib-rs frees its encoder")]
fn sequences_describe_the_plain_bytes() {
    // Everything occurs twice, farther apart than deflate's window.
    let half = [text(60, 100_000), noise(60, 25_000), vec![0; 700], b"abc".repeat(100)].concat();
    let plain = half.repeat(2);
    for (level, piece_bytes) in [(0, 1000), (1, 777), (6, 1), (6, usize::MAX), (9, 40)] {
        let decoded = plain_of_sequences(&gzip_at(&plain, level), piece_bytes).unwrap();
        assert!(decoded == plain, "level {level}, pieces of {piece_bytes} bytes");
    }
}

/// Streams of one kind each, which are the fuzzer's, too: with dynamic codes, fixed ones, short and long ones, no
/// matches, and stored blocks.
const STREAMS: [&[u8]; 6] = [
    include_bytes!("../../../../fuzz/seeds/transcode/all-kinds-of-blocks"),
    include_bytes!("../../../../fuzz/seeds/transcode/best"),
    include_bytes!("../../../../fuzz/seeds/transcode/huffman-only"),
    include_bytes!("../../../../fuzz/seeds/transcode/long-codes"),
    include_bytes!("../../../../fuzz/seeds/transcode/members"),
    include_bytes!("../../../../fuzz/seeds/transcode/run-lengths"),
];

#[test]
fn sequences_of_every_kind_of_block_are_right() {
    for (number, stream) in STREAMS.into_iter().enumerate() {
        let whole = plain_of_sequences(stream, usize::MAX).unwrap();
        assert!(plain_of_sequences(stream, 3).unwrap() == whole, "{number}");
        if !cfg!(miri) {
            assert!(reference(stream) == Some(whole), "{number}");
        }
    }
}

/// A stream with matches of all short distances, and of lengths around the steps of copies, up to the last byte.
fn stream_of_short_distances() -> (Vec<u8>, Vec<u8>) {
    let (mut writer, mut plain) = (BitWriter::default(), b"0123456789abcdefghijklmnopqrstuvwxyz".to_vec());
    writer.bits(3, 3).fixed_literals(&plain);
    for distance in 1..=32_u32 {
        for length in [3, 4, 7, 8, 9, 10] {
            // Distance symbols have 0, 0, 0, 0, 1, 1, 2, 2, .. extra bits.
            let (mut symbol, mut base, mut extra) = (0, 1, 0);
            while base + (1 << extra) <= distance {
                base += 1 << extra;
                symbol += 1;
                extra = if symbol < 4 { 0 } else { symbol / 2 - 1 };
            }
            writer.fixed(254 + length).code(symbol, 5).bits(distance - base, extra);
            for _ in 0..length {
                plain.push(plain[plain.len() - distance as usize]);
            }
            writer.fixed_literals(b"x");
            plain.push(b'x');
        }
        // Length 258.
        writer.fixed(285).code(0, 5);
        plain.extend([b'x'; 258]);
    }
    writer.fixed(256);
    (member(&writer.finish(), &plain), plain)
}

#[test]
fn matches_of_short_distances_are_copied() {
    let (gzip, plain) = stream_of_short_distances();
    // Miri takes a thousand times as long.
    for piece_bytes in if cfg!(miri) { &[64][..] } else { &[1, 3, 64, usize::MAX] } {
        assert!(plain_of_sequences(&gzip, *piece_bytes).unwrap() == plain, "{piece_bytes}");
    }
}

#[test]
fn wrong_streams_stay_inside_the_buffers() {
    let (gzip, _) = stream_of_short_distances();
    let step = if cfg!(miri) { 397 } else { 1 };
    for length in (0..gzip.len()).step_by(step) {
        let result = plain_of_sequences(&gzip[..length], 50);
        let is_truncated = matches!(result, Err(TranscodeError::Gzip { damage: Damage::Truncated, .. }));
        assert!(is_truncated, "{length}: {result:?}");
    }
    // Random bytes behind the header of a block of each type.
    for seed in 0..if cfg!(miri) { 12 } else { 500 } {
        let mut deflate = noise(seed, 300);
        deflate[0] = deflate[0] & !7 | u8::try_from(seed % 3).unwrap() << 1;
        let result = plain_of_sequences(&member(&deflate, b""), 299);
        assert!(result.is_err(), "{seed}");
    }
}

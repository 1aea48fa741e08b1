//! Compression of a layer, detected by its first bytes.

use std::fmt;
use std::io::{BufRead, Read as _};

use serde::Serialize;

use crate::fault::ContentFault;
use crate::plain::PlainSink;
use crate::{gzip, zstd};

/// Compression of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Compression {
    /// No compression.
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

impl Compression {
    /// Detects the compression by the magic number (RFC 1952, RFC 8878; skippable frames are zstd).
    fn detect(head: &[u8]) -> Self {
        match *head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// Decodes a layer into `sink`. Returns the compression, also for a layer that can't be decoded.
pub(crate) fn decode(
    source: &mut impl BufRead,
    sink: &mut PlainSink,
) -> (Compression, Result<(), ContentFault>) {
    let mut head = Vec::with_capacity(4);
    // Reading from memory can't fail.
    let _ = source.by_ref().take(4).read_to_end(&mut head);
    let compression = Compression::detect(&head);
    let mut source = (&head[..]).chain(source);
    let decoded = match compression {
        Compression::Gzip => gzip::decode(&mut source, sink),
        Compression::Zstd => zstd::decode(&mut source, sink),
        Compression::None => pass(&mut source, sink),
    };
    (compression, decoded)
}

fn pass(source: &mut impl BufRead, sink: &mut PlainSink) -> Result<(), ContentFault> {
    loop {
        let available = source.fill_buf().unwrap_or_default();
        if available.is_empty() {
            return Ok(());
        }
        sink.write(available)?;
        let count = available.len();
        source.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write as _};

    use flate2::GzBuilder;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::crc32::Crc32;
    use crate::digest::Digest;

    const TEXT: &[u8] = b"a layer's bytes, a layer's bytes, a layer's bytes";

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(plain: &[u8]) -> Vec<u8> {
        let mut encoder = ::zstd::Encoder::new(Vec::new(), 3).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    /// Pseudorandom text that compresses a little.
    fn long_text() -> Vec<u8> {
        let mut state = 1_u64;
        let mut text = Vec::new();
        while text.len() < 3_000_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.extend_from_slice(format!("{:x} ", (state >> 33) % 100_003).as_bytes());
        }
        text
    }

    fn decode_limited(compressed: &[u8], piece: usize, limit: u64) -> Result<(Digest, u64), ContentFault> {
        let mut sink = PlainSink::with_limit(limit);
        let (_, decoded) = decode(&mut BufReader::with_capacity(piece, compressed), &mut sink);
        decoded.map(|()| sink.finish())
    }

    fn decoded(compressed: &[u8]) -> Result<(Digest, u64), ContentFault> {
        let whole = decode_limited(compressed, 64 * 1024, u64::MAX);
        // The bytes arrive in pieces of any size.
        assert_eq!(decode_limited(compressed, 1, u64::MAX), whole);
        whole
    }

    fn assert_decodes(compressed: &[u8], plain: &[u8]) {
        assert_eq!(decoded(compressed), Ok((Digest::sha256_of(plain), plain.len() as u64)));
    }

    fn assert_fault(compressed: &[u8], said: &str) {
        let fault = decoded(compressed).unwrap_err().to_string();
        assert!(fault.contains(said), "{fault}");
    }

    #[test]
    fn compression_is_detected_by_magic_number() {
        let skippable = [0x5a, 0x2a, 0x4d, 0x18, 0, 0, 0, 0];
        for (content, compression) in [
            (gzip(TEXT), Compression::Gzip),
            (zstd(TEXT), Compression::Zstd),
            (skippable.to_vec(), Compression::Zstd),
            (TEXT.to_vec(), Compression::None),
            (Vec::new(), Compression::None),
            (vec![0x1f], Compression::None),
        ] {
            let mut sink = PlainSink::with_limit(u64::MAX);
            let (found, result) = decode(&mut BufReader::with_capacity(1, &content[..]), &mut sink);
            assert_eq!((found, result), (compression, Ok(())), "{content:x?}");
        }
    }

    #[test]
    fn every_compression_decodes_to_the_same_bytes() {
        let text = long_text();
        for compressed in [gzip(&text), zstd(&text), text.clone()] {
            assert_decodes(&compressed, &text);
        }
    }

    #[test]
    fn gzip_members_and_padding_are_read_to_the_end() {
        let twice = [gzip(TEXT), gzip(TEXT)].concat();
        assert_decodes(&twice, &[TEXT, TEXT].concat());
        let padded = [gzip(TEXT), vec![0; 700], gzip(TEXT), vec![0; 3]].concat();
        assert_decodes(&padded, &[TEXT, TEXT].concat());
        assert_decodes(&gzip(b""), b"");
    }

    #[test]
    fn gzip_header_fields_are_skipped() {
        let mut encoder = GzBuilder::new()
            .extra(vec![7; 300])
            .filename("layer.tar")
            .comment("a comment")
            .write(Vec::new(), flate2::Compression::fast());
        encoder.write_all(TEXT).unwrap();
        assert_decodes(&encoder.finish().unwrap(), TEXT);
    }

    #[test]
    fn gzip_header_checksum_is_compared() {
        let member = gzip(TEXT);
        let mut header = member[..10].to_vec();
        header[3] = 2;
        let mut crc = Crc32::new();
        crc.update(&header);
        let [low, high, ..] = crc.value().to_le_bytes();
        let with = |checksum: [u8; 2]| [&header[..], &checksum, &member[10..]].concat();
        assert_decodes(&with([low, high]), TEXT);
        assert_fault(&with([low, !high]), "checksum of its header");
    }

    #[test]
    fn damaged_gzip_is_a_fault() {
        let member = gzip(TEXT);
        let end = member.len();
        let changed = |position: usize| {
            let mut changed = member.clone();
            changed[position] ^= 1;
            changed
        };
        assert_fault(&member[..end - 1], "truncated");
        assert_fault(&member[..end - 12], "truncated");
        assert_fault(&member[..5], "truncated");
        assert_fault(&changed(2), "not deflate");
        assert_fault(&changed(end - 8), "CRC-32");
        assert_fault(&changed(end - 1), "length");
        let mut reserved = member.clone();
        reserved[3] = 0x80;
        assert_fault(&reserved, "reserved flag");
        for garbage in [&b"x"[..], b"garbage after it", &[0, 0, 7]] {
            assert_fault(&[&member[..], garbage].concat(), "other bytes follow");
        }
        assert_fault(&[&member[..], &[0x1f]].concat(), "truncated");
    }

    #[test]
    fn zstd_frames_are_read_to_the_end() {
        let skippable = [&[0x51, 0x2a, 0x4d, 0x18, 5, 0, 0, 0][..], b"notes"].concat();
        let frames = [skippable.clone(), zstd(TEXT), skippable, zstd(b""), zstd(TEXT)].concat();
        assert_decodes(&frames, &[TEXT, TEXT].concat());
    }

    #[test]
    fn damaged_zstd_is_a_fault() {
        let text = long_text();
        let frame = zstd(&text);
        let end = frame.len();
        for length in [6, end / 2, end - 4, end - 1] {
            assert!(decode_limited(&frame[..length], 4096, u64::MAX).is_err(), "{length}");
        }
        let mut wrong_checksum = frame.clone();
        wrong_checksum[end - 1] ^= 1;
        assert_eq!(
            decode_limited(&wrong_checksum, 4096, u64::MAX).unwrap_err().to_string(),
            "the zstd data can't be decoded: the checksum of a frame does not match"
        );
        assert!(decoded(&[zstd(TEXT), b"garbage".to_vec()].concat()).is_err());
        assert_fault(&[0x51, 0x2a, 0x4d, 0x18, 5, 0, 0, 0, 1], "skippable frame is truncated");
    }

    #[test]
    fn zstd_content_size_is_compared() {
        // Magic number, single segment of 9 bytes, one last raw block of 1 byte.
        assert_fault(&[0x28, 0xb5, 0x2f, 0xfd, 0x20, 9, 0x09, 0, 0, b'x'], "content size");
        assert_decodes(&[0x28, 0xb5, 0x2f, 0xfd, 0x20, 1, 0x09, 0, 0, b'x'], b"x");
    }

    #[test]
    fn zstd_window_above_128_mib_is_refused() {
        let frame = |window_log: u8| [0x28, 0xb5, 0x2f, 0xfd, 0, (window_log - 10) << 3, 1, 0, 0];
        assert_decodes(&frame(27), b"");
        assert_fault(&frame(28), "window_size is too big");
    }

    #[test]
    fn decompression_bomb_ends_at_the_limit() {
        let zeros = vec![0; 8 << 20];
        for bomb in [gzip(&zeros), zstd(&zeros)] {
            assert!(bomb.len() < 20_000);
            assert_eq!(decode_limited(&bomb, 4096, 1 << 20), Err(ContentFault::Unpacked { limit: 1 << 20 }));
        }
    }
}

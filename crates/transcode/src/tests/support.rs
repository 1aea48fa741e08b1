//! Gzip streams, and a sink that keeps what it gets.

use std::io::{self, Read as _, Write as _};

use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

use super::super::{Damage, Settings, Sink, Summary, TranscodeError, Transcoder, Verify};

/// Keeps plain bytes and frame.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) plain: Vec<u8>,
    pub(super) frame: Vec<u8>,
}

impl Sink for Kept {
    fn plain(&mut self, bytes: &[u8]) -> io::Result<()> {
        assert!(bytes.len() <= 128 << 10);
        self.plain.extend_from_slice(bytes);
        Ok(())
    }

    fn frame(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.frame.extend_from_slice(bytes);
        Ok(())
    }
}

/// Settings that decode everything again.
pub(super) const FULL: Settings = Settings { max_uncompressed: u64::MAX, verify: Verify::Full };

/// Transcodes a stream in pieces of `piece_bytes`.
pub(super) fn transcode_pieces(
    gzip: &[u8],
    piece_bytes: usize,
    settings: Settings,
) -> Result<(Summary, Kept), TranscodeError> {
    let mut kept = Kept::default();
    let mut transcoder = Transcoder::new(settings)?;
    for piece in gzip.chunks(piece_bytes) {
        transcoder.push(piece, &mut kept)?;
    }
    let summary = transcoder.finish(&mut kept)?;
    assert_eq!(summary.gzip, gzip.len() as u64);
    assert_eq!(summary.plain, kept.plain.len() as u64);
    assert_eq!(summary.frame, kept.frame.len() as u64);
    Ok((summary, kept))
}

/// Transcodes a stream in one piece, decoding everything again.
pub(super) fn transcode_all(gzip: &[u8]) -> Result<Kept, TranscodeError> {
    Ok(transcode_pieces(gzip, usize::MAX, FULL)?.1)
}

/// Asserts that a stream becomes a frame of `plain`, in pieces of several sizes.
pub(super) fn assert_transcodes(gzip: &[u8], plain: &[u8]) {
    let whole = transcode_all(gzip).unwrap();
    assert!(whole.plain == plain, "the sink got other plain bytes");
    assert!(zstd::decode_all(&whole.frame[..]).unwrap() == plain, "the frame decodes to other bytes");
    for piece_bytes in [1, 7, 4096, 65_537] {
        let (_, pieces) = transcode_pieces(gzip, piece_bytes, Settings::default()).unwrap();
        assert!(pieces.plain == plain && pieces.frame == whole.frame, "{piece_bytes}");
    }
}

pub(super) fn gzip(plain: &[u8]) -> Vec<u8> {
    gzip_at(plain, 6)
}

pub(super) fn gzip_at(plain: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// A member with the fields of `builder`.
pub(super) fn gzip_with(builder: GzBuilder, plain: &[u8]) -> Vec<u8> {
    let mut encoder = builder.write(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// A member around a deflate stream.
pub(super) fn member(deflate: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    gzip.extend_from_slice(deflate);
    gzip.extend_from_slice(&crc32fast::hash(plain).to_le_bytes());
    gzip.extend_from_slice(&u32::try_from(plain.len()).unwrap().to_le_bytes());
    gzip
}

/// All members decoded by zlib-rs, as crates/codec does it: zeros may follow a member, other bytes may not.
pub(super) fn reference(mut gzip: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    loop {
        let mut decoder = GzDecoder::new(gzip);
        decoder.read_to_end(&mut plain).ok()?;
        gzip = decoder.into_inner();
        let zeros = gzip.iter().take_while(|byte| **byte == 0).count();
        gzip = &gzip[zeros..];
        match gzip.first() {
            None => return Some(plain),
            Some(0x1f) => {}
            Some(_) => return None,
        }
    }
}

/// The damage that a stream is refused for.
pub(super) fn damage(gzip: &[u8]) -> Damage {
    assert_eq!(reference(gzip), None, "zlib-rs accepts the stream");
    match transcode_all(gzip).map(|_| ()) {
        Err(TranscodeError::Gzip { damage, .. }) => damage,
        other => panic!("{other:?}"),
    }
}

/// Pseudo-random bytes (xorshift).
pub(super) fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..count).map(|_| next()).collect()
}

/// Short matches at many different offsets. A third of them has the offsets 1, 4 and 8, which zstd assumes at a
/// segment's start.
pub(super) fn matches(seed: u64, count: usize) -> Vec<u8> {
    let mut plain = noise(seed, 3000);
    for choice in noise(seed + 1, count).chunks_exact(4) {
        let far = 20 + usize::from(choice[0]) * 11 + usize::from(choice[1]) % 11;
        let offset = [1, 4, 8, far, far, far, far, far, far][usize::from(choice[2]) % 9];
        plain.extend([choice[1] ^ choice[0], choice[3]]);
        for _ in 0..6 + choice[3] % 32 {
            plain.push(plain[plain.len() - offset]);
        }
        if plain.len() >= count {
            break;
        }
    }
    plain
}

/// Text of words, with repetitions at all distances.
pub(super) fn text(seed: u64, count: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(count + 64);
    for pair in noise(seed, 2 * count).chunks(2) {
        if text.len() >= count {
            break;
        }
        let start = usize::from(pair[0]) * usize::from(pair[1]);
        if pair[0] < 40 && text.len() > start + 200 {
            text.extend_from_within(
                text.len() - start - 200..text.len() - start - 200 + usize::from(pair[1] / 2),
            );
        } else {
            text.extend_from_slice(
                ["lib/", "python", " = ", "import ", "\n", "0x", "return", "é"][usize::from(pair[1] % 8)]
                    .as_bytes(),
            );
            text.push(b'a' + pair[0] % 26);
        }
    }
    text.truncate(count);
    text
}

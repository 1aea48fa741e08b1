//! Transcodes arbitrary bytes, as a gzip stream and as a deflate stream with a right trailer, and compares verdict
//! and bytes with zlib-rs and libzstd.

#![no_main]

use std::io::{self, Read as _};

use flate2::bufread::{DeflateDecoder, GzDecoder};
use libfuzzer_sys::fuzz_target;
use zstart_transcode::{Settings, Sink, TranscodeError, Transcoder, Verify};

/// Limit of uncompressed bytes, small enough that a decompression bomb doesn't end the run.
const MAX_UNCOMPRESSED: u64 = 4 << 20;

#[derive(Default)]
struct Kept {
    plain: Vec<u8>,
    frame: Vec<u8>,
}

impl Sink for Kept {
    fn plain(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.plain.extend_from_slice(bytes);
        Ok(())
    }

    fn frame(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.frame.extend_from_slice(bytes);
        Ok(())
    }
}

/// Transcodes in pieces, whose size doesn't matter.
fn transcode(gzip: &[u8], piece_bytes: usize) -> Result<Kept, TranscodeError> {
    let settings = Settings { max_uncompressed: MAX_UNCOMPRESSED, verify: Verify::Full };
    let (mut kept, mut transcoder) = (Kept::default(), Transcoder::new(settings)?);
    for piece in gzip.chunks(piece_bytes) {
        transcoder.push(piece, &mut kept)?;
    }
    transcoder.finish(&mut kept)?;
    Ok(kept)
}

/// All members decoded by zlib-rs. Zeros may follow a member.
fn reference(mut gzip: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    loop {
        let mut decoder = GzDecoder::new(gzip);
        decoder.by_ref().take(MAX_UNCOMPRESSED + 1 - plain.len() as u64).read_to_end(&mut plain).ok()?;
        if plain.len() as u64 > MAX_UNCOMPRESSED {
            return None;
        }
        gzip = decoder.into_inner();
        gzip = &gzip[gzip.iter().take_while(|byte| **byte == 0).count()..];
        match gzip.first() {
            None => return Some(plain),
            Some(0x1f) => {}
            Some(_) => return None,
        }
    }
}

fn compare(gzip: &[u8], piece_bytes: usize) {
    match (transcode(gzip, piece_bytes), reference(gzip)) {
        (Ok(kept), Some(plain)) => {
            assert!(kept.plain == plain, "the transcoder read other bytes");
            assert!(zstd::decode_all(&kept.frame[..]).unwrap() == plain, "the frame has other bytes");
            let whole = transcode(gzip, usize::MAX).unwrap();
            assert!(whole.frame == kept.frame, "the frame depends on the pieces");
        }
        (Ok(_), None) => panic!("zlib-rs refuses the stream"),
        (Err(error), None) => assert!(!error.is_internal(), "{error}"),
        (Err(error), Some(_)) => panic!("zlib-rs accepts the stream: {error}"),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let piece_bytes = 1 + usize::from(*first) * 16;
    if rest.starts_with(&[0x1f, 0x8b]) {
        compare(rest, piece_bytes);
        return;
    }
    // Any bytes are a deflate stream up to its end or the first damage.
    let mut gzip = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255][..], rest].concat();
    let mut plain = Vec::new();
    let mut decoder = DeflateDecoder::new(rest);
    if decoder.by_ref().take(MAX_UNCOMPRESSED).read_to_end(&mut plain).is_ok() {
        let unread = decoder.into_inner().len();
        gzip.truncate(gzip.len() - unread);
        gzip.extend_from_slice(&crc32fast::hash(&plain).to_le_bytes());
        gzip.extend_from_slice(&(plain.len() as u32).to_le_bytes());
    }
    compare(&gzip, piece_bytes);
});

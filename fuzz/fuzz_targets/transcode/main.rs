//! Transcodes gzip streams, and compares the verdict and the bytes with zlib-rs, and the frame with libzstd and
//! ruzstd.
//!
//! An input is a stream and four bytes of settings ([`Options`]). The stream is a gzip file, or a recipe of one
//! ([`stream::build`]). A gzip file needs no settings behind it: its length field serves.

#![no_main]

mod bits;
mod input;
mod options;
mod reference;
mod stream;
mod tokens;

use std::io::{self, Read as _};

use libfuzzer_sys::fuzz_target;
use zstart_transcode::{Settings, Sink, Summary, TranscodeError, Transcoder, Verify};

use options::{Limit, Options};
use reference::Reference;

/// Limit of uncompressed bytes, small enough that a decompression bomb doesn't end the run.
const MAX_PLAIN: usize = 2 << 20;
/// Binary logarithm of the window that decoders must support.
const WINDOW_LOG: u32 = 23;
/// Largest number of plain bytes that ruzstd decodes too: it is slower than libzstd.
const RUZSTD_MAX: usize = 256 << 10;
/// Largest number of plain bytes that a sink may get at once.
const PLAIN_PIECE_MAX: usize = 128 << 10;

#[derive(Default)]
struct Kept {
    plain: Vec<u8>,
    frame: Vec<u8>,
}

impl Sink for Kept {
    fn plain(&mut self, bytes: &[u8]) -> io::Result<()> {
        assert!(!bytes.is_empty() && bytes.len() <= PLAIN_PIECE_MAX, "a piece has {} bytes", bytes.len());
        self.plain.extend_from_slice(bytes);
        Ok(())
    }

    fn frame(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.frame.extend_from_slice(bytes);
        Ok(())
    }
}

/// Transcodes in pieces. Returns what the sink got, also after an error.
fn transcode(
    mut gzip: &[u8],
    pieces: impl Fn(usize) -> usize,
    settings: Settings,
) -> (Kept, Result<Summary, TranscodeError>) {
    let mut kept = Kept::default();
    let result = (|| {
        let mut transcoder = Transcoder::new(settings)?;
        for number in 0.. {
            if gzip.is_empty() {
                break;
            }
            let (piece, rest) = gzip.split_at(pieces(number).min(gzip.len()));
            transcoder.push(piece, &mut kept)?;
            gzip = rest;
        }
        transcoder.finish(&mut kept)
    })();
    (kept, result)
}

fn libzstd(frame: &[u8]) -> io::Result<Vec<u8>> {
    let mut decoder = zstd::stream::read::Decoder::new(frame)?;
    decoder.window_log_max(WINDOW_LOG)?;
    let mut plain = Vec::new();
    decoder.read_to_end(&mut plain)?;
    Ok(plain)
}

fn ruzstd(frame: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut decoder =
        ruzstd::decoding::StreamingDecoder::new(frame).expect("ruzstd reads the frame's header");
    decoder.read_to_end(&mut plain).expect("ruzstd reads the frame");
    plain
}

fn check_frame(kept: &Kept, summary: &Summary, settings: Settings, gzip: &[u8], plain: &[u8]) {
    assert!(kept.plain == plain, "the transcoder read other bytes");
    assert!(libzstd(&kept.frame).expect("libzstd reads the frame") == plain, "the frame has other bytes");
    if plain.len() <= RUZSTD_MAX {
        assert!(ruzstd(&kept.frame) == plain, "ruzstd finds other bytes in the frame");
    }
    let lengths = [gzip.len(), plain.len(), kept.frame.len()].map(|length| length as u64);
    assert_eq!([summary.gzip, summary.plain, summary.frame], lengths);
    let verified = match settings.verify {
        Verify::Off => 0..=0,
        Verify::Sampled => summary.segments.min(2)..=summary.segments,
        Verify::Each | Verify::Full => summary.segments..=summary.segments,
    };
    assert!(verified.contains(&summary.verified), "{summary:?}");
}

fn compare(gzip: &[u8], options: &Options) {
    let reference = reference::decode(gzip, MAX_PLAIN);
    let known = reference.plain();
    let max_uncompressed = match options.limit {
        Limit::None => MAX_PLAIN,
        Limit::Exact => known.len(),
        Limit::TooSmall => known.len().saturating_sub(1),
        Limit::Bytes(bytes) => bytes,
    };
    let max_uncompressed = max_uncompressed.min(MAX_PLAIN) as u64;
    let settings = Settings { max_uncompressed, verify: options.verify };
    let (kept, result) = transcode(gzip, |number| options.piece_bytes(number), settings);
    let common = kept.plain.len().min(known.len());
    assert!(kept.plain[..common] == known[..common], "the transcoder read other bytes before the end");
    match (result, &reference) {
        (Ok(summary), Reference::Good(plain)) => {
            assert!(plain.len() as u64 <= max_uncompressed, "the limit was ignored");
            check_frame(&kept, &summary, settings, gzip, plain);
            let again = Settings { verify: options.other_verify(), ..settings };
            let (whole, result) = transcode(gzip, |_| usize::MAX, again);
            let summary = result.expect("the pieces decide whether a stream is good");
            assert!(whole.frame == kept.frame, "the frame depends on the pieces or on the verification");
            check_frame(&whole, &summary, again, gzip, plain);
        }
        (Ok(_), Reference::Damaged(_)) => panic!("zlib-rs refuses the stream"),
        (Ok(_), Reference::TooLarge(_)) => panic!("the limit was ignored"),
        (Err(error), reference) => {
            let is_right = match (&error, reference) {
                // zlib-rs drops the last bytes before damage, so that their number isn't known.
                (TranscodeError::TooLarge { .. }, Reference::Damaged(_)) => true,
                (TranscodeError::TooLarge { .. }, reference) => {
                    reference.plain().len() as u64 > max_uncompressed
                }
                (TranscodeError::Gzip { .. } | TranscodeError::TrailingGarbage { .. }, reference) => {
                    !matches!(reference, Reference::Good(_))
                }
                _ => false,
            };
            assert!(is_right, "zlib-rs has another verdict: {error:?}");
            assert!(
                kept.frame.is_empty() || libzstd(&kept.frame).is_err(),
                "a refused stream has a whole frame"
            );
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Some((stream, options)) = Options::split(bytes) {
        compare(&stream::build(stream, options.repair), &options);
    }
});

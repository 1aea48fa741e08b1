//! Random streams, long streams, and properties of the result.

use std::io::{self, Read, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::super::{Settings, Sink, TranscodeError, Transcoder, Verify, transcode};
use super::deflate::BitWriter;
use super::support::{
    FULL, assert_transcodes, gzip, gzip_at, matches, member, noise, text, transcode_all, transcode_pieces,
};

/// 64 random streams, or as many as the variable of proptest says.
fn config() -> ProptestConfig {
    if std::env::var_os("PROPTEST_CASES").is_some() {
        ProptestConfig::default()
    } else {
        ProptestConfig::with_cases(64)
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn random_streams_survive(
        parts in prop::collection::vec((any::<u64>(), 0..200_000_usize, 0..4_u8, 0..=9_u32), 1..5),
        piece_bytes in 1..300_000_usize,
        verify in prop::sample::select(vec![Verify::Off, Verify::Sampled, Verify::Each, Verify::Full]),
    ) {
        let (mut stream, mut plain) = (Vec::new(), Vec::new());
        for (seed, count, kind, level) in parts {
            let part = match kind {
                0 => noise(seed, count),
                1 => text(seed, count),
                2 => text(seed % 3, count),
                _ => noise(seed, 1 + count % 300).repeat(1 + count / 300),
            };
            stream.extend(gzip_at(&part, level));
            plain.extend(part);
        }
        let settings = Settings { verify, ..Settings::default() };
        let (_, kept) = transcode_pieces(&stream, piece_bytes, settings).unwrap();
        prop_assert!(kept.plain == plain);
        prop_assert!(zstd::decode_all(&kept.frame[..]).unwrap() == plain);
        let whole = transcode_all(&stream).unwrap();
        prop_assert!(kept.frame == whole.frame);
    }
}

#[test]
fn repetition_farther_than_deflates_window_is_found() {
    for plain in [text(20, 1 << 20), noise(20, 1 << 20)] {
        let once = transcode_all(&gzip(&plain)).unwrap().frame.len();
        let twice = transcode_all(&gzip(&plain.repeat(2))).unwrap().frame.len();
        assert!(twice < once + once / 20, "{twice} of {once}");
    }
}

#[test]
fn repetition_across_the_windows_laps_is_transcoded() {
    // 40 MiB: four laps of the window, and repetitions reach over all of it.
    let parts: Vec<Vec<u8>> = (0..40).map(|part| text(30 + part % 7, 1 << 20)).collect();
    let plain = parts.concat();
    let gzip = gzip_at(&plain, 1);
    let (summary, kept) = transcode_pieces(&gzip, 100_000, FULL).unwrap();
    assert!(kept.plain == plain && zstd::decode_all(&kept.frame[..]).unwrap() == plain);
    assert_eq!(summary.verified, summary.segments);
    assert!(summary.segments > 100);
}

#[test]
fn sources_at_the_ends_of_laps_are_found() {
    // Each far match has the same offset, so that sources begin before the end of a lap and end behind it.
    let period = noise(22, 8_300_000);
    let plain = &period.repeat(4)[..30 << 20];
    let gzip = gzip_at(plain, 0);
    let run = |verify| transcode_pieces(&gzip, usize::MAX, Settings { verify, ..FULL }).unwrap().1;
    let each = run(Verify::Each);
    assert!(zstd::decode_all(&each.frame[..]).unwrap() == plain);
    // Three ends of laps cost a few blocks of literals at most.
    assert!(each.frame.len() < period.len() + (1 << 20), "{}", each.frame.len());
    assert!(run(Verify::Off).frame == each.frame, "a verification changes the frame");
}

#[test]
fn offsets_that_zstd_assumes_are_transcoded() {
    for seed in [40, 41] {
        let plain = matches(seed, 20 << 20);
        let (summary, kept) = transcode_pieces(&gzip(&plain), usize::MAX, Settings::default()).unwrap();
        assert!(summary.segments > 20);
        assert!(zstd::decode_all(&kept.frame[..]).unwrap() == plain, "{seed}");
    }
}

#[test]
fn offsets_behind_blocks_that_stay_uncompressed_are_transcoded() {
    // The second segment starts with noise. zstd doesn't use its few matches, and forgets their offsets.
    for seed in 0..10 {
        let first = &matches(50 + seed, 653_900)[..653_800];
        let (mut writer, mut quiet) = (BitWriter::default(), Vec::new());
        writer.bits(3, 3);
        for (number, chunk) in noise(70 + seed, 133_000).chunks(9_000).enumerate() {
            writer.fixed_literals(chunk);
            quiet.extend_from_slice(chunk);
            // Length 5 at a distance of 257 and more.
            let distance = 7 * u32::try_from(number).unwrap();
            writer.fixed(259).code(16, 5).bits(distance, 7);
            let start = quiet.len() - 257 - 7 * number;
            quiet.extend_from_within(start..start + 5);
        }
        writer.fixed(256);
        let last = matches(90 + seed, 100_000).split_off(3_000);
        let stream = [gzip(first), member(&writer.finish(), &quiet), gzip(&last)].concat();
        let (_, kept) = transcode_pieces(&stream, usize::MAX, Settings::default()).unwrap();
        let decoded = zstd::decode_all(&kept.frame[..]);
        let plain = [first, &quiet, &last].concat();
        assert!(decoded.is_ok_and(|decoded| decoded == plain), "{seed}");
    }
}

#[test]
fn verified_segments_follow_the_setting() {
    let gzip = gzip_at(&noise(21, 26 << 20), 0);
    let verified = |verify| {
        let (summary, _) = transcode_pieces(&gzip, usize::MAX, Settings { verify, ..FULL }).unwrap();
        (summary.segments, summary.verified)
    };
    let (segments, all) = verified(Verify::Full);
    assert!(segments > 60 && all == segments);
    assert_eq!(verified(Verify::Off), (segments, 0));
    assert_eq!(verified(Verify::Each), (segments, segments));
    // The first one, the last one, and two of each of the two laps that are complete.
    let (_, some) = verified(Verify::Sampled);
    assert_eq!(some, 6, "of {segments}");
}

/// A user of the crate may record that a stream gives these bytes. zstart's `dev.zstart.settings` does.
#[test]
fn frame_of_a_stream_written_by_hand_is_pinned() {
    let (mut writer, mut plain) = (BitWriter::default(), Vec::new());
    writer.bits(3, 3);
    for (number, chunk) in text(23, 400_000).chunks(200).enumerate() {
        writer.fixed_literals(chunk);
        plain.extend_from_slice(chunk);
        if plain.len() > 400 {
            // Length 5 at a distance of 257 and more.
            let distance = number % 128;
            writer.fixed(259).code(16, 5).bits(u32::try_from(distance).unwrap(), 7);
            let start = plain.len() - 257 - distance;
            plain.extend_from_within(start..start + 5);
        }
    }
    writer.fixed(256);
    let stream = member(&writer.finish(), &plain).repeat(3);
    let kept = transcode_all(&stream).unwrap();
    assert!(kept.plain == plain.repeat(3));
    let digest = u64::from_be_bytes(*Sha256::digest(&kept.frame).first_chunk().unwrap());
    assert_eq!((kept.frame.len(), digest), (220_914, 0x76d6_15eb_f4f5_b9a2));
}

#[test]
fn frame_has_the_window_and_the_checksum_of_the_codec() {
    let frame = transcode_all(&gzip(b"abc")).unwrap().frame;
    assert_eq!(frame[..6], [0x28, 0xb5, 0x2f, 0xfd, 4, 13 << 3]);
    let mut wrong = frame.clone();
    *wrong.last_mut().unwrap() ^= 1;
    assert!(zstd::decode_all(&wrong[..]).is_err(), "the checksum isn't the content's");
}

/// A sink that fails after a number of calls.
struct FailingSink(usize);

impl FailingSink {
    fn step(&mut self) -> io::Result<()> {
        self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
        Ok(())
    }
}

impl Sink for FailingSink {
    fn plain(&mut self, _: &[u8]) -> io::Result<()> {
        self.step()
    }

    fn frame(&mut self, _: &[u8]) -> io::Result<()> {
        self.step()
    }
}

#[test]
fn failure_of_the_sink_ends_the_transcoding() {
    let gzip = gzip(&text(22, 2 << 20));
    for calls in 0..20 {
        let mut transcoder = Transcoder::new(FULL).unwrap();
        let mut sink = FailingSink(calls);
        let error = match transcoder.push(&gzip, &mut sink) {
            Ok(()) => transcoder.finish(&mut sink).unwrap_err(),
            Err(error) => {
                let again = transcoder.push(&gzip, &mut sink).unwrap_err();
                assert!(matches!(again, TranscodeError::Failed), "{again}");
                assert!(matches!(transcoder.finish(&mut sink), Err(TranscodeError::Failed)));
                error
            }
        };
        assert!(matches!(error, TranscodeError::Sink { .. }), "{error}");
    }
}

#[test]
fn failure_of_the_source_is_reported() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    let gzip = gzip(b"abc");
    let mut source = io::BufReader::new(gzip[..5].chain(Broken));
    let error = transcode(&mut source, FULL, &mut FailingSink(100)).unwrap_err();
    assert!(matches!(error, TranscodeError::Read { .. }), "{error}");
}

#[test]
fn transcoder_moves_between_threads() {
    fn assert_send<T: Send>() {}
    assert_send::<Transcoder>();
}

/// A sink that compares the frame's content with a repeated pattern.
struct LongSink<'a> {
    decoder: zstd::stream::write::Decoder<'a, PatternCheck<'a>>,
    plain: PatternCheck<'a>,
}

/// Compares bytes with a repeated pattern.
#[derive(Clone)]
struct PatternCheck<'a> {
    pattern: &'a [u8],
    count: u64,
}

impl io::Write for PatternCheck<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let at = usize::try_from(self.count % self.pattern.len() as u64).unwrap();
        let count = bytes.len().min(self.pattern.len() - at);
        assert!(bytes[..count] == self.pattern[at..at + count], "wrong bytes near {}", self.count);
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for LongSink<'_> {
    fn plain(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.plain.write_all(bytes)
    }

    fn frame(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.decoder.write_all(bytes)
    }
}

#[test]
#[ignore = "takes half a minute"]
fn positions_over_four_gibibytes_are_transcoded() {
    // One member of 4.5 GiB. The pattern is longer than deflate's window, so that far matches occur throughout.
    let pattern = [text(23, 700_000), vec![0; 3_000_000], noise(23, 100_000)].concat();
    let times = (9 << 29) / pattern.len() + 1;
    let check = PatternCheck { pattern: &pattern, count: 0 };
    let decoder = zstd::stream::write::Decoder::new(check.clone()).unwrap();
    let mut sink = LongSink { decoder, plain: check };
    let mut transcoder = Transcoder::new(Settings::default()).unwrap();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(1));
    for _ in 0..times {
        encoder.write_all(&pattern).unwrap();
        transcoder.push(&std::mem::take(encoder.get_mut()), &mut sink).unwrap();
    }
    transcoder.push(&encoder.finish().unwrap(), &mut sink).unwrap();
    let summary = transcoder.finish(&mut sink).unwrap();
    sink.decoder.flush().unwrap();
    let expected = (times * pattern.len()) as u64;
    assert!(expected > 4 << 30);
    assert_eq!([summary.plain, sink.plain.count, sink.decoder.get_ref().count], [expected; 3]);
    assert!(summary.frame < expected / 200, "far matches were lost: {} bytes", summary.frame);
}

#[test]
fn frame_of_incompressible_bytes_grows_little() {
    let plain = noise(24, 3 << 20);
    let frame = transcode_all(&gzip_at(&plain, 0)).unwrap().frame;
    assert!(frame.len() < plain.len() + 200, "{}", frame.len());
    assert_transcodes(&gzip_at(&plain, 9), &plain);
}

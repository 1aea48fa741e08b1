//! Two threads: the same results as with one, for good, damaged and wrong streams.

use std::io;

use super::super::sabotage::{Stage, during};
use super::super::{Damage, Fault, Settings, Summary, TranscodeError, Verify, transcode_in_two_threads};
use super::support::{FULL, Kept, gzip, gzip_at, noise, text, transcode_pieces};

/// Transcodes a stream with two threads.
fn transcode_twice_threaded(gzip: &[u8], settings: Settings) -> Result<(Summary, Kept), TranscodeError> {
    let mut kept = Kept::default();
    let Kept { plain, frame } = &mut kept;
    let summary = transcode_in_two_threads(
        &mut io::BufReader::with_capacity(10_000, gzip),
        settings,
        &mut |bytes| {
            plain.extend_from_slice(bytes);
            Ok(())
        },
        &mut |bytes| {
            frame.extend_from_slice(bytes);
            Ok(())
        },
    )?;
    Ok((summary, kept))
}

#[test]
fn frame_and_summary_are_those_of_one_thread() {
    let streams = [
        gzip(b""),
        gzip(b"abc"),
        gzip(&text(30, 5 << 20)),
        gzip_at(&noise(31, 3 << 20), 0),
        [gzip(&text(32, 300_000)), gzip(b""), vec![0; 5], gzip(&noise(33, 200_000))].concat(),
    ];
    for (number, stream) in streams.iter().enumerate() {
        for verify in [Verify::Off, Verify::default(), Verify::Full] {
            let settings = Settings { verify, ..FULL };
            let (summary, kept) = transcode_pieces(stream, 5000, settings).unwrap();
            let (other, other_kept) = transcode_twice_threaded(stream, settings).unwrap();
            assert_eq!(other, summary, "{number}");
            assert!(other_kept.plain == kept.plain && other_kept.frame == kept.frame, "{number}");
        }
    }
}

#[test]
fn damage_ends_both_threads() {
    let mut stream = gzip(&text(34, 3 << 20));
    let error = transcode_twice_threaded(&stream[..stream.len() - 9], FULL).map(|_| ()).unwrap_err();
    assert!(matches!(error, TranscodeError::Gzip { damage: Damage::Truncated, .. }), "{error}");
    let checksum = stream.len() - 8;
    stream[checksum] ^= 1;
    let error = transcode_twice_threaded(&stream, FULL).map(|_| ()).unwrap_err();
    assert!(matches!(error, TranscodeError::Gzip { damage: Damage::Checksum, .. }), "{error}");
}

#[test]
fn fault_of_the_second_thread_ends_the_first() {
    // Many blocks are to come when the first segment fails. The damage at the end isn't reached.
    let stream = gzip(&text(35, 20 << 20));
    let stream = &stream[..stream.len() - 1];
    for (stage, settings) in [(Stage::Tokens, FULL), (Stage::Block, FULL), (Stage::Entropy, FULL)] {
        let mut received = 0;
        let result = during(stage, 100, || {
            transcode_in_two_threads(
                &mut &*stream,
                settings,
                &mut |bytes| {
                    received += bytes.len();
                    Ok(())
                },
                &mut |_| Ok(()),
            )
        });
        let Err(TranscodeError::Internal { fault, .. }) = result else { panic!("{stage:?}: {result:?}") };
        assert_eq!(stage == Stage::Entropy, !matches!(fault, Fault::Match { .. }), "{stage:?}: {fault}");
        assert!(received < 10 << 20, "the first thread read {received} bytes");
    }
}

#[test]
fn failures_of_both_receivers_are_reported() {
    let stream = gzip(&text(36, 3 << 20));
    let full = || io::Error::from(io::ErrorKind::StorageFull);
    for (plain_fails, frame_fails) in [(true, false), (false, true), (true, true)] {
        let result = transcode_in_two_threads(
            &mut &stream[..],
            FULL,
            &mut |_| if plain_fails { Err(full()) } else { Ok(()) },
            &mut |_| if frame_fails { Err(full()) } else { Ok(()) },
        );
        assert!(matches!(result, Err(TranscodeError::Sink { .. })), "{plain_fails} {frame_fails}");
    }
    let too_small = Settings { max_uncompressed: 1 << 20, ..FULL };
    let result = transcode_twice_threaded(&stream, too_small).map(|_| ());
    assert!(matches!(result, Err(TranscodeError::TooLarge { .. })));
}

#[test]
#[should_panic(expected = "receiver of the frame")]
fn panic_of_the_second_thread_reaches_the_caller() {
    let stream = gzip(&text(37, 3 << 20));
    let _ = transcode_in_two_threads(&mut &stream[..], FULL, &mut |_| Ok(()), &mut |_| {
        panic!("receiver of the frame")
    });
}

#[test]
fn one_thread_reports_the_same_errors() {
    // Both stages fail: the second one at an earlier block.
    let mut stream = gzip(&text(38, 2 << 20));
    let checksum = stream.len() - 8;
    stream[checksum] ^= 1;
    during(Stage::Block, 5, || {
        let one = transcode_pieces(&stream, usize::MAX, FULL).map(|_| ()).unwrap_err();
        let two = transcode_twice_threaded(&stream, FULL).map(|_| ()).unwrap_err();
        assert_eq!(format!("{one:?}"), format!("{two:?}"));
    });
}

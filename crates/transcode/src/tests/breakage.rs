//! Stages broken on purpose: no wrong frame is completed.

use super::super::sabotage::{Stage, during};
use super::super::{Fault, Settings, TranscodeError, Verify};
use super::support::{FULL, gzip, matches, text, transcode_pieces};

/// The fault that a transcoding fails for while element `number` of every list of `stage` is wrong.
fn fault(stage: Stage, number: usize, settings: Settings) -> Option<Fault> {
    let gzip = gzip(&if stage == Stage::Assumed { matches(8, 20 << 20) } else { text(8, 300_000) });
    match during(stage, number, || transcode_pieces(&gzip, usize::MAX, settings)) {
        Ok((_, kept)) => {
            let decoded = zstd::decode_all(&kept.frame[..]);
            assert!(decoded.is_ok_and(|decoded| decoded == kept.plain), "wrong bytes were accepted");
            None
        }
        Err(error @ TranscodeError::Internal { .. }) => {
            assert!(error.is_internal());
            let TranscodeError::Internal { fault, .. } = error else { return None };
            Some(fault)
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn wrong_sequences_of_each_stage_are_noticed() {
    let unverified = Settings { verify: Verify::Off, ..FULL };
    for stage in [Stage::Tokens, Stage::Far, Stage::Block] {
        for number in [0, 1, 100, 1000] {
            let fault = fault(stage, number, unverified);
            assert!(matches!(fault, Some(Fault::Match { .. })), "{stage:?} {number}: {fault:?}");
        }
    }
}

#[test]
fn wrong_bytes_of_zstd_are_noticed() {
    for number in (0..40_000).step_by(503) {
        // A wrong bit is noticed unless zstd doesn't use it.
        for settings in [FULL, Settings::default()] {
            let fault = fault(Stage::Entropy, number, settings);
            assert!(number >= 6 || fault.is_some(), "{number}");
        }
    }
}

#[test]
fn offsets_that_zstd_assumes_are_noticed() {
    let unverified = Settings { verify: Verify::Off, ..FULL };
    let fault = fault(Stage::Assumed, 0, unverified);
    assert!(matches!(fault, Some(Fault::AssumedOffset { .. })), "{fault:?}");
}

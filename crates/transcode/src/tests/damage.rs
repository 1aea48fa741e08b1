//! Damaged streams: the same verdict as zlib-rs's, or an error.

use flate2::GzBuilder;

use super::super::{Damage, TranscodeError};
use super::support::{FULL, gzip, gzip_at, gzip_with, member, noise, reference, text, transcode_pieces};

/// Small streams of all kinds of blocks.
fn streams() -> [Vec<u8>; 4] {
    let plain = [text(11, 700), noise(11, 50)].concat();
    [
        gzip(&plain),
        gzip_at(&noise(12, 60), 0),
        gzip(b"abcabcabcabc"),
        [gzip_with(GzBuilder::new().filename("x").extra(vec![1; 5]), b"two"), vec![0; 3], gzip(b"members")]
            .concat(),
    ]
}

/// Asserts that the transcoder accepts the stream only if zlib-rs does, with the same bytes.
fn assert_same_verdict(gzip: &[u8], piece_bytes: usize, case: &str) {
    match (transcode_pieces(gzip, piece_bytes, FULL), reference(gzip)) {
        (Ok((_, kept)), Some(plain)) => {
            assert!(kept.plain == plain, "{case}");
            assert!(zstd::decode_all(&kept.frame[..]).unwrap() == plain, "{case}");
        }
        (Ok(_), None) => panic!("{case}: zlib-rs refuses the stream"),
        (Err(error), Some(_)) => panic!("{case}: zlib-rs accepts the stream: {error}"),
        (Err(error), None) => {
            assert!(!error.is_internal(), "{case}: {error}");
            if let TranscodeError::Gzip { offset, damage } = error {
                let (end, is_truncated) = (gzip.len() as u64, damage == Damage::Truncated);
                assert!(offset == end || (offset < end && !is_truncated), "{case}: {error}");
            }
        }
    }
}

#[test]
fn stream_truncated_at_each_byte_is_refused() {
    for gzip in streams() {
        for length in 0..gzip.len() {
            for piece_bytes in [1, usize::MAX] {
                assert_same_verdict(&gzip[..length], piece_bytes, &format!("{length} bytes"));
            }
        }
        let error = transcode_pieces(&gzip[..gzip.len() - 1], 100, FULL).map(|_| ()).unwrap_err();
        assert!(matches!(error, TranscodeError::Gzip { damage: Damage::Truncated, .. }), "{error}");
    }
}

#[test]
fn stream_with_each_bit_flipped_gets_zlibs_verdict() {
    for gzip in streams() {
        for bit in 0..gzip.len() * 8 {
            let mut gzip = gzip.clone();
            gzip[bit / 8] ^= 1 << (bit % 8);
            assert_same_verdict(&gzip, usize::MAX, &format!("bit {bit}"));
        }
    }
}

#[test]
fn wrong_bytes_with_fixed_checksums_get_zlibs_verdict() {
    // With the right trailer, damage of the deflate stream itself decides.
    let gzip = gzip(&text(13, 3000));
    let changes = noise(13, 3 * 1000);
    for change in changes.chunks(3) {
        let mut gzip = gzip.clone();
        let at = 10 + (usize::from(change[0]) * 256 + usize::from(change[1])) % (gzip.len() - 18);
        gzip[at] ^= change[2];
        let mut plain = Vec::new();
        let mut decoder = flate2::bufread::DeflateDecoder::new(&gzip[10..]);
        if std::io::Read::read_to_end(&mut decoder, &mut plain).is_ok() {
            let rest = decoder.into_inner().len();
            let end = gzip.len() - rest;
            gzip.truncate(end);
            gzip.extend_from_slice(&crc32fast::hash(&plain).to_le_bytes());
            gzip.extend_from_slice(&u32::try_from(plain.len()).unwrap().to_le_bytes());
        }
        assert_same_verdict(&gzip, usize::MAX, &format!("{change:?}"));
    }
}

#[test]
fn damage_has_an_offset_near_it() {
    let plain = noise(14, 400_000);
    let mut deflate = Vec::new();
    for part in plain.chunks(50_000) {
        let length = u16::try_from(part.len()).unwrap();
        deflate.extend([0].into_iter().chain(length.to_le_bytes()).chain((!length).to_le_bytes()));
        deflate.extend(part);
    }
    let mut gzip = member(&deflate, &plain);
    // The length of a stored block in the middle.
    let block = 10 + 3 * 50_005;
    gzip[block + 1] ^= 1;
    for piece_bytes in [1000, usize::MAX] {
        let error = transcode_pieces(&gzip, piece_bytes, FULL).map(|_| ()).unwrap_err();
        let TranscodeError::Gzip { offset, damage: Damage::StoredLength } = error else { panic!("{error}") };
        assert!((block as u64..block as u64 + 16).contains(&offset), "{offset}");
    }
}

//! Hints about the compressor.

use super::super::{Hints, Settings, Transcoder};
use super::support::{Kept, gzip_at, noise, text};

/// The hints after `gzip` was pushed in pieces of `piece_bytes`.
fn hints(gzip: &[u8], piece_bytes: usize) -> Hints {
    let mut transcoder = Transcoder::new(Settings::default()).unwrap();
    for piece in gzip.chunks(piece_bytes) {
        transcoder.push(piece, &mut Kept::default()).unwrap();
    }
    transcoder.hints()
}

#[test]
fn fastest_level_is_read_from_the_first_header() {
    let plain = text(5, 1000);
    let (fast, normal) = (gzip_at(&plain, 1), gzip_at(&plain, 6));
    for piece_bytes in [1, 10, usize::MAX] {
        assert!(hints(&fast, piece_bytes).is_fastest);
        assert!(!hints(&normal, piece_bytes).is_fastest);
        assert!(hints(&[&fast[..], &normal].concat(), piece_bytes).is_fastest);
        assert!(!hints(&[&normal[..], &fast].concat(), piece_bytes).is_fastest);
        assert!(!hints(&fast[..9], piece_bytes).is_fastest, "the header isn't complete");
    }
}

#[test]
fn stored_bytes_do_not_depend_on_the_pieces() {
    let (text, noise) = (text(6, 200_000), noise(6, 200_000));
    let stored = gzip_at(&text, 0);
    assert_eq!(hints(&stored, usize::MAX).stored, 200_000);
    assert_eq!(hints(&gzip_at(&text, 6), usize::MAX).stored, 0);
    assert!(hints(&gzip_at(&noise, 6), usize::MAX).stored > 190_000);
    let mixed = [gzip_at(&text, 6), gzip_at(&noise, 6), stored].concat();
    for end in (0..mixed.len()).step_by(9973) {
        let whole = hints(&mixed[..end], usize::MAX);
        for piece_bytes in [13, 4096, 65_521] {
            assert_eq!(hints(&mixed[..end], piece_bytes), whole, "{end} in pieces of {piece_bytes}");
        }
    }
}

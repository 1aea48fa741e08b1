//! Hints about the compressor.

use super::super::Hints;
use super::support::{gzip_at, noise, text};

#[test]
fn fastest_level_is_read_from_the_first_header() {
    let plain = text(5, 1000);
    let (fast, normal) = (gzip_at(&plain, 1), gzip_at(&plain, 6));
    let hints = [Hints::read(&fast), Hints::read(&normal)];
    assert_eq!(hints.map(|hints| hints.is_fastest), [true, false]);
    assert!(Hints::read(&fast[..10]).is_fastest);
    assert!(!Hints::read(&[&normal[..], &fast].concat()).is_fastest);
    for length in 0..10 {
        assert_eq!(Hints::read(&fast[..length]), Hints::default(), "the header isn't complete");
    }
}

#[test]
fn stored_blocks_at_the_start_are_counted() {
    let (text, noise) = (text(6, 200_000), noise(6, 200_000));
    let stored = gzip_at(&text, 0);
    assert_eq!(Hints::read(&stored).stored, 200_000);
    assert_eq!(Hints::read(&gzip_at(&text, 6)).stored, 0);
    assert!(Hints::read(&gzip_at(&noise, 6)).stored > 100_000);
    // A block counts as soon as its header is there.
    let first = u64::from(u16::from_le_bytes([stored[11], stored[12]]));
    assert!(first > 1000);
    assert_eq!(Hints::read(&stored[..14]).stored, 0);
    assert_eq!(Hints::read(&stored[..15]).stored, first);
    // Another member doesn't count.
    assert_eq!(Hints::read(&[gzip_at(b"first", 6), stored].concat()).stored, 0);
}

//! Gzip streams of every form.

use flate2::GzBuilder;

use super::super::{Damage, Settings, TranscodeError};
use super::support::{
    FULL, assert_transcodes, damage, gzip, gzip_at, gzip_with, member, noise, reference, text, transcode_all,
    transcode_pieces,
};

#[test]
fn text_of_all_levels_is_transcoded() {
    let plain = text(1, 1 << 20);
    for level in 0..=9 {
        assert_transcodes(&gzip_at(&plain, level), &plain);
    }
}

#[test]
fn noise_is_transcoded() {
    let plain = noise(1, 1 << 20);
    for level in [0, 6] {
        assert_transcodes(&gzip_at(&plain, level), &plain);
    }
}

#[test]
fn zeros_and_short_periods_are_transcoded() {
    for period in [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 64] {
        let plain = noise(period, usize::try_from(period).unwrap())
            .repeat((1 << 20) / usize::try_from(period).unwrap());
        let gzip = gzip(&plain);
        assert_transcodes(&gzip, &plain);
        let frame = transcode_all(&gzip).unwrap().frame;
        assert!(frame.len() * 4 < gzip.len(), "period {period}: {} of {} bytes", frame.len(), gzip.len());
    }
}

#[test]
fn empty_member_becomes_an_empty_frame() {
    assert_transcodes(&gzip(b""), b"");
    assert_transcodes(&[gzip(b""), gzip(b"")].concat(), b"");
}

#[test]
fn tiny_members_are_transcoded() {
    for count in 1..40 {
        let plain = &text(2, 40)[..count];
        assert_transcodes(&gzip(plain), plain);
        assert_transcodes(&gzip_at(plain, 0), plain);
    }
}

#[test]
fn members_and_zero_padding_are_transcoded() {
    let plain = text(3, 300_000);
    let zeros = vec![0; 70_000];
    let members = [
        gzip(&plain[..100]),
        zeros.clone(),
        gzip(b""),
        gzip(&plain[100..200_000]),
        gzip_at(&plain[200_000..], 0),
        zeros,
    ];
    assert_transcodes(&members.concat(), &plain);
}

#[test]
fn header_fields_are_skipped() {
    let plain = text(4, 1000);
    let name = || GzBuilder::new().filename("layer.tar");
    let builders = [
        name(),
        GzBuilder::new().comment("by hand"),
        GzBuilder::new().extra(vec![7; 300]),
        GzBuilder::new().extra(vec![]),
        GzBuilder::new().extra(vec![7; 65_535]),
        name().comment("by hand").extra(vec![0; 3]).mtime(1),
    ];
    for builder in builders {
        assert_transcodes(&gzip_with(builder, &plain), &plain);
    }
}

/// A member with every field and a checksum of the header.
fn member_with_header_checksum(plain: &[u8]) -> Vec<u8> {
    let mut header = vec![0x1f, 0x8b, 8, 0b1_1111, 1, 2, 3, 4, 0, 3, 2, 0, b'x', b'y'];
    header.extend_from_slice(b"name\0comment\0");
    header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes()[..2]);
    header.extend_from_slice(&gzip(plain)[10..]);
    header
}

#[test]
fn header_checksum_is_checked() {
    let plain = text(5, 1000);
    let mut gzip = member_with_header_checksum(&plain);
    assert_transcodes(&gzip, &plain);
    assert_eq!(reference(&gzip).as_deref(), Some(&plain[..]));
    gzip[13] ^= 1;
    assert_eq!(damage(&gzip), Damage::HeaderChecksum);
}

#[test]
fn header_field_over_its_limit_is_refused() {
    let with_name = |count: usize| {
        let header = [&[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3][..], &vec![b'x'; count], &[0]].concat();
        [header, gzip(b"abc")[10..].to_vec()].concat()
    };
    assert_transcodes(&with_name(65_535), b"abc");
    assert_eq!(damage(&with_name(65_536)), Damage::HeaderField);
}

#[test]
fn wrong_headers_are_refused() {
    let good = gzip(b"abc");
    for (index, value, expected) in [
        (0, 0x1e, Damage::Magic),
        (1, 0, Damage::Magic),
        (2, 7, Damage::Method),
        (3, 0x20, Damage::ReservedFlag),
    ] {
        let mut gzip = good.clone();
        gzip[index] = value;
        assert_eq!(damage(&gzip), expected);
    }
}

#[test]
fn wrong_trailers_are_refused() {
    let good = gzip(&text(6, 200_000));
    let count = good.len();
    for (index, expected) in [(count - 8, Damage::Checksum), (count - 1, Damage::Length)] {
        let mut gzip = good.clone();
        gzip[index] ^= 1;
        assert_eq!(damage(&gzip), expected);
    }
}

#[test]
fn trailing_garbage_is_refused_with_its_offset() {
    let good = gzip(b"abc");
    let offset = good.len() as u64 + 2;
    for piece_bytes in [1, 1000] {
        let gzip = [&good[..], b"\0\0x"].concat();
        let error = transcode_pieces(&gzip, piece_bytes, FULL).map(|_| ()).unwrap_err();
        assert!(
            matches!(error, TranscodeError::TrailingGarbage { offset: found } if found == offset),
            "{error}"
        );
    }
}

#[test]
fn empty_stream_is_truncated() {
    assert_eq!(damage(b""), Damage::Truncated);
}

#[test]
fn stream_over_its_limit_is_too_large() {
    let gzip = gzip(&vec![0; 1 << 20]);
    for (max_uncompressed, is_enough) in [(1 << 20, true), ((1 << 20) - 1, false)] {
        let settings = Settings { max_uncompressed, ..FULL };
        match transcode_pieces(&gzip, 1000, settings) {
            Ok(_) => assert!(is_enough),
            Err(TranscodeError::TooLarge { max_uncompressed: found }) => {
                assert!(!is_enough && found == max_uncompressed);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn stored_blocks_of_all_lengths_are_transcoded() {
    let plain = noise(7, 65_535);
    let mut deflate = Vec::new();
    let mut expected = Vec::new();
    for count in [0_u16, 1, 2, 65_535, 3] {
        deflate.push(0);
        deflate.extend_from_slice(&count.to_le_bytes());
        deflate.extend_from_slice(&(!count).to_le_bytes());
        deflate.extend_from_slice(&plain[..usize::from(count)]);
        expected.extend_from_slice(&plain[..usize::from(count)]);
    }
    deflate.extend_from_slice(&[1, 0, 0, 0xff, 0xff]);
    assert_transcodes(&member(&deflate, &expected), &expected);
    deflate.truncate(deflate.len() - 1);
    deflate.push(0xfe);
    assert_eq!(damage(&member(&deflate, &expected)), Damage::StoredLength);
}

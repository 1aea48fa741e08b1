use std::io::{BufReader, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::zstd::ZstdConverter;
use super::*;
use crate::settings::Level;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn convert(source: &[u8]) -> Result<Option<(Converted, Vec<u8>)>, LayerError> {
    let mut target = Vec::new();
    // A buffer of five bytes: nothing may depend on where a read ends.
    let mut source = BufReader::with_capacity(5, source);
    let converted = ZstdConverter::new(Level::default()).convert(&mut source, &mut target)?;
    Ok(converted.map(|converted| (converted, target)))
}

fn assert_unpacks_to(source: &[u8], plain: &[u8]) {
    let (converted, target) = convert(source).unwrap().expect("it was converted");
    assert_eq!(::zstd::decode_all(&target[..]).unwrap(), plain);
    assert_eq!(converted, Converted { diff_id: Digest::sha256_of(plain), plain_bytes: plain.len() as u64 });
}

#[test]
fn gzip_and_plain_layers_become_the_same_zstd() {
    let plain = b"some files, as a tar archive would hold them".repeat(100);
    assert_unpacks_to(&gzip(&plain), &plain);
    assert_unpacks_to(&plain, &plain);
    assert_eq!(convert(&gzip(&plain)).unwrap(), convert(&plain).unwrap());
}

#[test]
fn layers_of_nothing_are_still_layers() {
    assert_unpacks_to(&gzip(b""), b"");
    assert_unpacks_to(b"", b"");
    assert_unpacks_to(b"abc", b"abc");
}

#[test]
fn every_member_of_a_gzip_stream_is_decoded() {
    let members = [gzip(b"one"), gzip(b""), gzip(b"two")].concat();
    assert_unpacks_to(&members, b"onetwo");
    assert_unpacks_to(&[members, vec![0; 700]].concat(), b"onetwo");
}

#[test]
fn a_layer_that_is_zstd_already_is_left_as_it_is() {
    let layer = ::zstd::encode_all(&b"files"[..], 3).unwrap();
    assert_eq!(convert(&layer).unwrap(), None);
}

#[test]
fn garbage_behind_the_stream_is_refused_with_its_place() {
    let stream = gzip(b"files");
    let error = convert(&[&stream[..], b"garbage"].concat()).unwrap_err();
    let LayerError::TrailingGarbage { offset } = error else { panic!("{error}") };
    assert_eq!(offset, stream.len() as u64);
}

#[test]
fn a_truncated_or_damaged_stream_is_refused() {
    let stream = gzip(&b"files ".repeat(1000));
    for length in [3, 12, stream.len() / 2, stream.len() - 1] {
        assert!(matches!(convert(&stream[..length]), Err(LayerError::Gzip { .. })), "{length}");
    }
    for place in [stream.len() - 8, stream.len() - 1] {
        let mut damaged = stream.clone();
        damaged[place] ^= 1;
        assert!(matches!(convert(&damaged), Err(LayerError::Gzip { .. })), "checksum and length: {place}");
    }
}

#[test]
fn the_highest_level_keeps_to_a_window_that_every_decoder_has() {
    let mut target = Vec::new();
    let plain = vec![7; 40 << 20];
    ZstdConverter::new(Level::try_from(22).unwrap()).convert(&mut &plain[..], &mut target).unwrap();
    let mut decoder = ::zstd::stream::read::Decoder::new(&target[..]).unwrap();
    decoder.window_log_max(23).unwrap();
    assert_eq!(std::io::copy(&mut decoder, &mut std::io::sink()).unwrap(), plain.len() as u64);
}

proptest! {
    #[test]
    fn whatever_the_bytes_they_come_out_the_same(
        plain in prop::collection::vec(any::<u8>(), 0..4096),
        cut in 0_usize..4096,
    ) {
        let cut = cut.min(plain.len());
        assert_unpacks_to(&[gzip(&plain[..cut]), gzip(&plain[cut..])].concat(), &plain);
    }
}

//! Methods for gzip layers.

use super::*;
use crate::transcoded::START_BYTES;

/// Lines with repetitions near and far, of this many bytes.
fn lines(bytes: usize) -> Vec<u8> {
    let numbers = (0_u64..).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40);
    let lines = numbers.flat_map(|number| format!("/usr/share/{:x}/{number}\n", number % 61).into_bytes());
    lines.take(bytes).collect()
}

/// A program: this one.
fn program() -> Vec<u8> {
    let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    program[..program.len().min(20 << 20)].to_vec()
}

fn gzip_at(level: u32, plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn frame(converter: &ZstdConverter, layer: &[u8]) -> Vec<u8> {
    let mut target = Vec::new();
    converter.convert(&mut &layer[..], &mut target, unpack_limit(u64::MAX)).unwrap();
    target
}

/// The method by which `auto` converts a layer.
fn chosen(level: i32, layer: &[u8]) -> Method {
    let at = |method| ZstdConverter::new(Level::try_from(level).unwrap()).with_method(method);
    let frames = METHODS.map(|method| frame(&at(method), layer));
    let [encoded, transcoded, auto] = frames;
    assert!(encoded != transcoded, "the methods can be told apart");
    match auto {
        auto if auto == encoded => Method::Encode,
        auto if auto == transcoded => Method::Transcode,
        _ => panic!("neither"),
    }
}

#[test]
fn auto_transcodes_ordinary_gzip_up_to_level_5() {
    // Shorter and longer than the part that decides.
    for plain in [lines(100_000), lines(8 << 20)] {
        let layer = gzip_at(6, &plain);
        assert_eq!([1, 3, 5, 6, 9].map(|level| chosen(level, &layer)), {
            use Method::{Encode, Transcode};
            [Transcode, Transcode, Transcode, Encode, Encode]
        });
    }
    assert!(gzip_at(6, &lines(8 << 20)).len() > START_BYTES);
}

#[test]
fn auto_encodes_what_its_compressor_hardly_searched() {
    for plain in [lines(100_000), lines(8 << 20)] {
        assert_eq!(chosen(3, &gzip_at(1, &plain)), Method::Encode, "the header says so");
        // Go writes no such mark for stored blocks.
        let mut stored = gzip_at(0, &plain);
        stored[8] = 0;
        assert_eq!(chosen(3, &stored), Method::Encode, "stored blocks");
    }
    // Stored blocks are less than half of the first mebibyte.
    let mut mixed = gzip_at(0, &lines(300_000));
    mixed[8] = 0;
    mixed.extend(gzip_at(6, &lines(8 << 20)));
    assert_eq!(chosen(3, &mixed), Method::Transcode);
}

#[test]
fn choice_does_not_depend_on_the_reads() {
    let plain = lines(3 << 20);
    let mut stored = gzip_at(0, &plain[..START_BYTES / 2]);
    stored[8] = 0;
    for layer in [[stored, gzip_at(6, &plain)].concat(), gzip_at(6, &plain)] {
        let whole = frame(&converter(Method::Auto), &layer);
        for capacity in [1, 1000, 65_537] {
            let mut target = Vec::new();
            let mut source = BufReader::with_capacity(capacity, &layer[..]);
            converter(Method::Auto).convert(&mut source, &mut target, unpack_limit(u64::MAX)).unwrap();
            assert!(target == whole, "{capacity}");
        }
    }
}

#[test]
fn declined_layer_is_encoded_from_its_start() {
    // With damage behind the part that decides: the offset counts from the layer's start.
    let layer = gzip_at(1, &lines(8 << 20));
    let end = layer.len() - 100;
    let error = convert_by(Method::Auto, &layer[..end]).unwrap_err();
    assert!(matches!(error, LayerError::Gzip { offset, .. } if offset == end as u64), "{error:?}");
}

#[test]
fn transcoded_frame_is_one_frame_with_a_window_of_8_mib() {
    let plain = lines(20 << 20);
    for verification in [Verification::Sampled, Verification::Full] {
        let converter = converter(Method::Transcode).with_verification(verification);
        let layer = frame(&converter, &gzip_at(6, &plain));
        let length = ::zstd::zstd_safe::find_frame_compressed_size(&layer).unwrap();
        assert_eq!(length, layer.len(), "one frame");
        assert_eq!(
            zstd_frames::verify(&mut &layer[..], unpack_limit(u64::MAX)).unwrap(),
            Digest::sha256_of(&plain)
        );
    }
}

#[test]
fn converter_without_transcoder_encodes() {
    let layer = gzip_at(6, &lines(100_000));
    for method in [Method::Auto, Method::Transcode] {
        let other = converter(method).without_transcoder().unwrap();
        let mut target = Vec::new();
        other.convert(&mut &layer[..], &mut target, unpack_limit(u64::MAX)).unwrap();
        assert!(target == frame(&converter(Method::Encode), &layer));
        assert!(other.without_transcoder().is_none());
    }
    assert!(converter(Method::Encode).without_transcoder().is_none());
    let highest = ZstdConverter::new(Level::try_from(9).unwrap()).with_method(Method::Auto);
    assert!(highest.without_transcoder().is_none());
}

#[test]
fn large_layer_after_a_fault_is_not_encoded_in_jobs() {
    let layer = gzip_at(6, &lines(12 << 20));
    let converted = |converter: &dyn LayerConverter, compressed_size| {
        let mut target = Vec::new();
        let limits = LayerLimits { compressed_size, ..unpack_limit(u64::MAX) };
        converter.convert(&mut &layer[..], &mut target, limits).unwrap();
        target
    };
    let (small, large) = (1 << 20, 40 << 20);
    let encoder = converter(Method::Encode);
    let (whole, in_jobs) = (converted(&encoder, small), converted(&encoder, large));
    assert!(whole != in_jobs);
    let other = converter(Method::Auto).without_transcoder().unwrap();
    assert!(converted(&*other, large) == whole, "its permits are for less memory");
}

/// The method by which `auto` at level 3 converts a layer whose size it knows.
fn chosen_by_sample(layer: &[u8]) -> Method {
    let limits = LayerLimits { compressed_size: layer.len() as u64, max_uncompressed: u64::MAX };
    let mut auto = Vec::new();
    converter(Method::Auto).convert(&mut &layer[..], &mut auto, limits).unwrap();
    let transcoded = frame(&converter(Method::Transcode), layer);
    if auto == transcoded { Method::Transcode } else { Method::Encode }
}

/// A member as a compressor writes that searches as little as gzip -1, and doesn't say so.
fn gzip_without_a_mark(plain: &[u8]) -> Vec<u8> {
    let mut layer = gzip_at(1, plain);
    assert_eq!(layer[8], 4);
    layer[8] = 0;
    layer
}

#[test]
fn sample_shows_what_its_compressor_hardly_searched() {
    let plain = program();
    let (well, poorly) = (gzip_at(6, &plain), gzip_without_a_mark(&plain));
    assert!(well.len() > 4 << 20, "large enough for a sample");
    assert_eq!(chosen_by_sample(&well), Method::Transcode);
    assert_eq!(chosen_by_sample(&poorly), Method::Encode);
    // Without a size, and in a layer that is too small for a sample, nothing shows it.
    assert_eq!(chosen(3, &poorly), Method::Transcode);
    assert_eq!(chosen_by_sample(&gzip_without_a_mark(&plain[..2 << 20])), Method::Transcode);
}

#[test]
fn sample_of_a_bomb_or_of_damage_is_no_error() {
    let zeros = vec![0; 1 << 30];
    let layer = gzip_at(6, &zeros);
    let limits = LayerLimits { compressed_size: 64 << 20, max_uncompressed: 8 << 20 };
    let error = converter(Method::Auto).convert(&mut &layer[..], &mut io::sink(), limits).unwrap_err();
    assert!(matches!(error, LayerError::TooLarge { max_uncompressed } if max_uncompressed == 8 << 20));
    let mut damaged = gzip_at(6, &lines(8 << 20));
    damaged[10] |= 0b110;
    let limits = LayerLimits { compressed_size: damaged.len() as u64, max_uncompressed: u64::MAX };
    let error = converter(Method::Auto).convert(&mut &damaged[..], &mut io::sink(), limits).unwrap_err();
    assert!(matches!(error, LayerError::Gzip { .. }), "{error:?}");
}

//! Tests of layers' conversion.

use std::io::{self, BufReader, Read as _, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use zstd::zstd_safe::CParameter;

use super::*;

mod large_layers;
mod methods;

const METHODS: [Method; 3] = [Method::Encode, Method::Transcode, Method::Auto];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Limits of a small layer.
fn unpack_limit(max_uncompressed: u64) -> LayerLimits {
    LayerLimits { compressed_size: 0, max_uncompressed }
}

fn converter(method: Method) -> ZstdConverter {
    ZstdConverter::new(Level::default()).with_method(method)
}

fn convert_by(method: Method, source: &[u8]) -> Result<(Converted, Vec<u8>), LayerError> {
    let mut target = Vec::new();
    // The buffer has five bytes, because the result must not depend on the ends of reads.
    let mut source = BufReader::with_capacity(5, source);
    let converted = converter(method).convert(&mut source, &mut target, unpack_limit(u64::MAX))?;
    Ok((converted, target))
}

fn convert(source: &[u8]) -> Result<(Converted, Vec<u8>), LayerError> {
    convert_by(Method::Encode, source)
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(bytes, 3).unwrap()
}

fn assert_unpacks_to(source: &[u8], plain: &[u8]) {
    for method in METHODS {
        let (converted, target) = convert_by(method, source).unwrap();
        assert!(::zstd::decode_all(&target[..]).unwrap() == plain, "{method:?}");
        assert_eq!(converted, Converted { diff_id: Digest::sha256_of(plain), rewritten: true });
    }
}

fn assert_stays(source: &[u8], plain: &[u8]) {
    for method in METHODS {
        let (converted, target) = convert_by(method, source).unwrap();
        assert_eq!(converted, Converted { diff_id: Digest::sha256_of(plain), rewritten: false });
        assert_eq!(target, [0; 0], "the layer stays unchanged");
    }
}

#[test]
fn gzip_and_plain_layers_become_the_same_zstd() {
    let plain = b"some files, as a tar archive would hold them".repeat(100);
    assert_unpacks_to(&gzip(&plain), &plain);
    assert_unpacks_to(&plain, &plain);
    assert_eq!(convert(&gzip(&plain)).unwrap(), convert(&plain).unwrap());
}

#[test]
fn empty_and_tiny_layers_are_converted() {
    assert_unpacks_to(&gzip(b""), b"");
    assert_unpacks_to(b"", b"");
    assert_unpacks_to(b"abc", b"abc");
}

#[test]
fn gzip_members_are_all_decoded() {
    let members = [gzip(b"one"), gzip(b""), gzip(b"two")].concat();
    assert_unpacks_to(&members, b"onetwo");
    assert_unpacks_to(&[members, vec![0; 700]].concat(), b"onetwo");
}

/// A member with every field that a gzip header may have (RFC 1952, 2.3).
fn gzip_with_all_fields(bytes: &[u8]) -> Vec<u8> {
    let builder = flate2::GzBuilder::new().filename("layer.tar").comment("by hand").extra(vec![7; 300]);
    let mut encoder = builder.mtime(1).write(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn gzip_padding_and_header_fields_are_skipped() {
    let zeros = vec![0; 513];
    let members =
        [gzip_with_all_fields(b"one"), zeros.clone(), gzip(b""), zeros.clone(), gzip(b"two"), zeros];
    assert_unpacks_to(&members.concat(), b"onetwo");
    assert_unpacks_to(&[gzip(b"one"), gzip_with_all_fields(b"two")].concat(), b"onetwo");
}

#[test]
fn layer_bytes_are_never_parsed_as_tar() {
    // A header of a file of 8 EiB, a header of a sparse file of 1 TiB, and bytes that are no archive.
    let mut huge = [0; 512];
    huge[..4].copy_from_slice(b"file");
    huge[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    let mut sparse = huge;
    sparse[156] = b'S';
    sparse[483..495].copy_from_slice(b"20000000000\0");
    for plain in [&huge[..], &sparse[..], b"30 path=no archive\n"] {
        assert_unpacks_to(plain, plain);
        assert_unpacks_to(&gzip(plain), plain);
        assert_stays(&zstd(plain), plain);
    }
}

#[test]
fn zstd_layer_is_reencoded_on_request() {
    let plain = b"many files ".repeat(100_000);
    let frames = [::zstd::encode_all(&plain[..], 1).unwrap(), zstd(b"more")].concat();
    let mut target = Vec::new();
    let converter = ZstdConverter::new(Level::default()).reencode_zstd();
    let converted = converter.convert(&mut &frames[..], &mut target, unpack_limit(u64::MAX)).unwrap();
    let plain = [&plain[..], b"more"].concat();
    assert_eq!(converted, Converted { diff_id: Digest::sha256_of(&plain), rewritten: true });
    assert_eq!(target, convert(&plain).unwrap().1, "as any plain layer");
}

#[test]
fn layer_over_its_unpack_limit_is_too_large() {
    let plain = vec![0; 1 << 20];
    for layer in [gzip(&plain), zstd(&plain), plain.clone()] {
        for (method, max_uncompressed, is_enough) in
            METHODS.into_iter().flat_map(|method| [(method, 1 << 20, true), (method, (1 << 20) - 1, false)])
        {
            let limits = unpack_limit(max_uncompressed);
            match converter(method).convert(&mut &layer[..], &mut io::sink(), limits) {
                Ok(_) => assert!(is_enough, "{max_uncompressed}"),
                Err(LayerError::TooLarge { max_uncompressed: reported }) => {
                    assert_eq!((reported, is_enough), (max_uncompressed, false));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn zstd_layer_is_kept_and_its_diff_id_computed() {
    assert_stays(&zstd(b"files"), b"files");
    assert_stays(&zstd(b""), b"");
    let plain = b"many files ".repeat(100_000);
    assert_stays(&[zstd(&plain), zstd(b"more")].concat(), &[&plain[..], b"more"].concat());
}

#[test]
fn skippable_frames_around_zstd_are_accepted() {
    for first in 0x50..0x60 {
        let skippable = [&[first, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"toc"].concat();
        assert_stays(&[skippable.clone(), zstd(b"files"), skippable].concat(), b"files");
    }
}

#[test]
fn zstd_damage_truncation_and_garbage_are_refused() {
    let plain: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(&plain).unwrap();
    let stream = encoder.finish().unwrap();
    assert_stays(&stream, &plain);
    for length in [5, stream.len() / 2, stream.len() - 1] {
        assert!(matches!(convert(&stream[..length]), Err(LayerError::Zstd { .. })), "{length}");
    }
    for position in [stream.len() / 2, stream.len() - 1] {
        let mut damaged = stream.clone();
        damaged[position] ^= 1;
        assert!(matches!(convert(&damaged), Err(LayerError::Zstd { .. })), "{position}");
    }
    let error = convert(&[&stream[..], b"garbage"].concat()).unwrap_err();
    assert!(matches!(error, LayerError::Zstd { offset, .. } if offset >= stream.len() as u64), "{error}");
}

#[test]
fn zstd_window_over_32_mib_is_refused() {
    let with_window = |log: u32| {
        let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.set_parameter(CParameter::WindowLog(log)).unwrap();
        encoder.write_all(b"files").unwrap();
        encoder.flush().unwrap();
        encoder.finish().unwrap()
    };
    assert_stays(&with_window(25), b"files");
    assert!(matches!(convert(&with_window(26)), Err(LayerError::Zstd { .. })));
    // zstart's own frames have a smaller window.
    let verified = |log| zstd_frames::verify(&mut &with_window(log)[..], unpack_limit(u64::MAX));
    assert_eq!(verified(23).unwrap(), Digest::sha256_of(b"files"));
    assert!(matches!(verified(24), Err(LayerError::Zstd { .. })));
}

#[test]
fn broken_source_is_a_read_error() {
    let plain = b"files ".repeat(10_000);
    for layer in [gzip(&plain), zstd(&plain), plain.clone()] {
        for method in METHODS {
            let (front, _) = layer.split_at(layer.len() / 2);
            let mut source = BufReader::new(front.chain(BrokenReader));
            let converted = converter(method).convert(&mut source, &mut io::sink(), unpack_limit(u64::MAX));
            assert!(matches!(converted, Err(LayerError::Read { .. })), "{method:?}: {converted:?}");
        }
    }
}

#[test]
fn full_target_ends_conversion_with_its_own_error() {
    // Incompressible, and larger than the queue between the threads.
    let plain: Vec<u8> = (0..3_000_000_u64)
        .flat_map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect();
    for layer in [gzip(&plain), plain] {
        for method in METHODS {
            let mut target = FullWriter { capacity: 300_000 };
            let converted = converter(method).convert(&mut &layer[..], &mut target, unpack_limit(u64::MAX));
            let Err(LayerError::Write { source }) = converted else { panic!("{method:?}: {converted:?}") };
            assert_eq!(source.kind(), io::ErrorKind::StorageFull);
        }
    }
}

/// A target that fails when `capacity` bytes are written.
struct FullWriter {
    capacity: usize,
}

impl io::Write for FullWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.capacity == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let count = bytes.len().min(self.capacity);
        self.capacity -= count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A source whose connection is reset.
struct BrokenReader;

impl io::Read for BrokenReader {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::new(io::ErrorKind::ConnectionReset, "reset by peer"))
    }
}

#[test]
fn layer_over_4_gib_is_converted_completely() {
    // One member, whose length field wraps at 4 GiB, and a small member after it.
    const CHUNKS: usize = 65;
    let chunk = vec![0; 64 << 20];
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let mut hash = sha2::Sha256::default();
    for _ in 0..CHUNKS {
        encoder.write_all(&chunk).unwrap();
        sha2::Digest::update(&mut hash, &chunk);
    }
    sha2::Digest::update(&mut hash, b"end");
    let diff_id = Digest::from_sha256(sha2::Digest::finalize(hash).into());
    let layer = [encoder.finish().unwrap(), gzip(b"end")].concat();

    let limits = crate::UnpackLimits::default().limit_for(layer.len() as u64);
    for method in [Method::Encode, Method::Transcode] {
        let mut target = Vec::new();
        let converted =
            converter(method).convert(&mut &layer[..], &mut target, unpack_limit(limits)).unwrap();
        assert_eq!(converted, Converted { diff_id: diff_id.clone(), rewritten: true });
        let mut decoder = ::zstd::stream::read::Decoder::new(&target[..]).unwrap();
        assert_eq!(io::copy(&mut decoder, &mut io::sink()).unwrap(), 65 * (64 << 20) + 3);
    }
}

#[test]
fn garbage_after_gzip_is_refused_with_its_offset() {
    let stream = gzip(b"files");
    for method in METHODS {
        let error = convert_by(method, &[&stream[..], b"garbage"].concat()).unwrap_err();
        let LayerError::TrailingGarbage { offset } = error else { panic!("{error}") };
        assert_eq!(offset, stream.len() as u64);
    }
}

#[test]
fn truncated_or_damaged_gzip_is_refused_with_offset() {
    METHODS.into_iter().for_each(assert_damage_is_refused);
}

fn assert_damage_is_refused(method: Method) {
    let stream = gzip(&b"files ".repeat(1000));
    let offset_in = |damaged: &[u8]| match convert_by(method, damaged) {
        Err(LayerError::Gzip { offset, source: _ }) => usize::try_from(offset).unwrap(),
        other => panic!("{other:?}"),
    };
    for length in [3, 12, stream.len() / 2, stream.len() - 1] {
        // The decoder reads to the end of the truncated stream.
        assert_eq!(offset_in(&stream[..length]), length);
    }
    // Offsets in a second member count from the start of the first member.
    let members = [&stream[..], &stream[..stream.len() / 2]].concat();
    assert_eq!(offset_in(&members), members.len());
    // The checksum and the length after the data.
    for position in [stream.len() - 8, stream.len() - 5, stream.len() - 4, stream.len() - 1] {
        let mut damaged = stream.clone();
        damaged[position] ^= 1;
        let offset = offset_in(&[&damaged[..], b"more"].concat());
        assert!((stream.len() - 8..=stream.len()).contains(&offset), "{position}: {offset}");
    }
    // An undefined block type (RFC 1951, 3.2.3), after a header of ten bytes.
    let mut damaged = stream;
    damaged[10] |= 0b110;
    let offset = offset_in(&damaged);
    assert!((10..=damaged.len()).contains(&offset), "{offset}");
}

#[test]
fn highest_level_keeps_to_a_window_of_8_mib() {
    let mut target = Vec::new();
    let plain = vec![7; 40 << 20];
    ZstdConverter::new(Level::try_from(22).unwrap())
        .convert(&mut &plain[..], &mut target, unpack_limit(u64::MAX))
        .unwrap();
    let mut decoder = ::zstd::stream::read::Decoder::new(&target[..]).unwrap();
    decoder.window_log_max(23).unwrap();
    assert_eq!(std::io::copy(&mut decoder, &mut std::io::sink()).unwrap(), plain.len() as u64);
}

#[test]
fn encoder_memory_is_bounded_at_every_level() {
    use zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};
    for level in 1..=Level::MAX {
        let mut context = CCtx::create();
        context.set_parameter(CParameter::CompressionLevel(level)).unwrap();
        for parameter in zstd_converter::memory_parameters(Level::try_from(level).unwrap()) {
            context.set_parameter(*parameter).unwrap();
        }
        let mut output = [0; 64];
        context
            .compress_stream(&mut OutBuffer::around(&mut output[..]), &mut InBuffer::around(b"x"))
            .unwrap();
        assert!(context.sizeof() < 150 << 20, "level {level}: {} bytes", context.sizeof());
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_survive_conversion(
        plain in prop::collection::vec(any::<u8>(), 0..4096),
        cut in 0_usize..4096,
    ) {
        let cut = cut.min(plain.len());
        assert_unpacks_to(&[gzip(&plain[..cut]), gzip(&plain[cut..])].concat(), &plain);
    }
}

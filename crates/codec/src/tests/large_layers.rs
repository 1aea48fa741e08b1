//! Layers that are converted on a thread of their own.

use super::*;

/// Content of a large layer: larger than the workers' buffers, and without long repetitions.
fn many_files() -> Vec<u8> {
    let lines =
        (0..1_500_000_u64).map(|number| format!("{:x}\n", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    lines.flat_map(String::into_bytes).collect()
}

/// A reader that returns at most this number of bytes per read.
struct ShortReads<'a>(&'a [u8], usize);

impl io::Read for ShortReads<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(self.1);
        self.0.read(&mut buffer[..count])
    }
}

/// Converts `source` as a large layer.
fn convert_large(converter: &ZstdConverter, source: impl io::Read) -> Vec<u8> {
    let mut target = Vec::new();
    let limits = LayerLimits { compressed_size: 32 << 20, max_uncompressed: u64::MAX };
    let mut source = BufReader::with_capacity(1, source);
    assert!(converter.convert(&mut source, &mut target, limits).unwrap().rewritten);
    target
}

#[test]
fn large_layer_is_one_frame_for_any_read_size() {
    let plain_bytes = many_files();
    // One layer ends within a job, the other at the end of a job.
    for plain in [&plain_bytes[..], &plain_bytes[..8 << 20]] {
        for level in 1..=3 {
            let converter = ZstdConverter::new(Level::try_from(level).unwrap());
            let expected = convert_large(&converter, plain);
            let length = zstd::zstd_safe::find_frame_compressed_size(&expected).unwrap();
            assert_eq!(length, expected.len(), "one frame");
            let mut decoder = ::zstd::stream::read::Decoder::new(&expected[..]).unwrap();
            decoder.window_log_max(23).unwrap();
            let mut unpacked = Vec::new();
            decoder.read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == plain);
            for max_read in [1_000, 50_001] {
                assert!(
                    expected == convert_large(&converter, ShortReads(plain, max_read)),
                    "level {level}, {max_read}"
                );
            }
            assert!(expected == convert_large(&converter, &gzip(plain)[..]), "level {level}");
        }
    }
}

#[test]
fn large_layer_bytes_do_not_depend_on_core_count() {
    let plain = many_files();
    let converted = [false, true].map(|hash_thread| {
        let converter = ZstdConverter::new(Level::default()).with_hash_thread(hash_thread);
        let mut target = Vec::new();
        let limits = LayerLimits { compressed_size: 32 << 20, max_uncompressed: u64::MAX };
        (converter.convert(&mut &gzip(&plain)[..], &mut target, limits).unwrap(), target)
    });
    assert_eq!(converted[0].0, Converted { diff_id: Digest::sha256_of(&plain), rewritten: true });
    assert!(converted[0] == converted[1]);
}

#[test]
fn converter_output_ignores_earlier_layers() {
    let plain = many_files();
    let level = Level::default();
    let small = |converter: &ZstdConverter| {
        let mut target = Vec::new();
        converter.convert(&mut &plain[..], &mut target, unpack_limit(u64::MAX)).unwrap();
        target
    };
    let fresh = (small(&ZstdConverter::new(level)), convert_large(&ZstdConverter::new(level), &plain[..]));
    assert!(fresh.0 != fresh.1, "one piece differs from jobs");
    let used = ZstdConverter::new(level);
    for compressed_size in [0, 32 << 20] {
        let limits = LayerLimits { compressed_size, max_uncompressed: u64::MAX };
        used.convert(&mut &plain[..], &mut FullWriter { capacity: 300_000 }, limits).unwrap_err();
        for _ in 0..2 {
            assert!(small(&used) == fresh.0 && small(&used) == fresh.0);
            assert!(
                convert_large(&used, &plain[..]) == fresh.1 && convert_large(&used, &plain[..]) == fresh.1
            );
        }
    }
}

#[test]
fn large_layer_reports_the_side_that_failed() {
    let plain = many_files();
    let limits = LayerLimits { compressed_size: 32 << 20, max_uncompressed: u64::MAX };
    for hash_thread in [false, true] {
        let converter = ZstdConverter::new(Level::default()).with_hash_thread(hash_thread);
        let error =
            converter.convert(&mut &plain[..], &mut FullWriter { capacity: 300_000 }, limits).unwrap_err();
        assert!(
            matches!(&error, LayerError::Write { source } if source.kind() == io::ErrorKind::StorageFull),
            "{error}"
        );
        let mut source = BufReader::new(plain.chain(BrokenReader));
        let error = converter.convert(&mut source, &mut io::sink(), limits).unwrap_err();
        assert!(matches!(error, LayerError::Read { .. }), "{error}");
        let limits = LayerLimits { max_uncompressed: 1 << 20, ..limits };
        let error = converter.convert(&mut &plain[..], &mut io::sink(), limits).unwrap_err();
        assert!(matches!(error, LayerError::TooLarge { .. }), "{error}");
    }
}

//! Converts arbitrary bytes and compares the result with other decoders: gzip by libflate, zstd by ruzstd.
//! Neither shares code with zstart's decoders.

#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use zstart_codec::{LayerLimits, LayerConverter, ZstdConverter, Level};
use zstart_core::Digest;

/// Unpack limit in bytes, small enough that a decompression bomb doesn't end the run.
const MAX_UNPACKED: u64 = 1 << 20;

/// Reads another decoder's output; `None` if the decoder fails or the output is too large.
fn unpacked(reader: impl Read) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    reader.take(MAX_UNPACKED + 1).read_to_end(&mut plain).ok()?;
    (plain.len() as u64 <= MAX_UNPACKED).then_some(plain)
}

fuzz_target!(|layer: &[u8]| {
    let mut target = Vec::new();
    // Large layers are encoded in jobs. No fuzz input is large, so its last byte chooses the announced size.
    let compressed_size = if layer.last().is_some_and(|last| last % 2 == 1) { 32 << 20 } else { 0 };
    let converter = ZstdConverter::new(Level::default()).reencode_zstd();
    let converted = converter.convert(&mut &layer[..], &mut target, LayerLimits { compressed_size, max_uncompressed: MAX_UNPACKED });
    if let Ok(converted) = &converted {
        let plain = ruzstd::decoding::StreamingDecoder::new(&target[..]).ok().and_then(unpacked);
        let plain = plain.expect("another decoder reads the written zstd");
        assert_eq!(Digest::sha256_of(&plain), converted.diff_id);
        if layer.starts_with(&[0x1f, 0x8b]) {
            // libflate refuses zero padding after the stream, which zstart accepts, so a refusal is no failure.
            let other = libflate::gzip::MultiDecoder::new(layer).ok().and_then(unpacked);
            assert!(other.is_none_or(|other| other == plain), "two decoders read the gzip differently");
        }
    }
});

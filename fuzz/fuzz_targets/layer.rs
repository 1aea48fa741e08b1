//! What comes out of a layer is what others unpack it to: gzip by libflate, zstd by ruzstd, neither of
//! which shares code with what zstart uses.

#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use zstart_codec::{Announced, LayerConverter, ZstdConverter, Level};
use zstart_core::Digest;

/// Small enough that a bomb doesn't end the run.
const MOST: u64 = 1 << 20;

/// What another decoder makes of it; `None` where it is refused or too large.
fn unpacked(reader: impl Read) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    reader.take(MOST + 1).read_to_end(&mut plain).ok()?;
    (plain.len() as u64 <= MOST).then_some(plain)
}

fuzz_target!(|layer: &[u8]| {
    let mut target = Vec::new();
    // Large ones are encoded in another way, and by its bytes none is large here.
    let packed = if layer.last().is_some_and(|last| last % 2 == 1) { 32 << 20 } else { 0 };
    let converter = ZstdConverter::new(Level::default()).encoding_all();
    let converted = converter.convert(&mut &layer[..], &mut target, Announced { packed, most: MOST });
    if let Ok(converted) = &converted {
        let plain = ruzstd::decoding::StreamingDecoder::new(&target[..]).ok().and_then(unpacked);
        let plain = plain.expect("another decoder reads what was written");
        assert_eq!(Digest::sha256_of(&plain), converted.diff_id);
        if layer.starts_with(&[0x1f, 0x8b]) {
            // It knows no zeros behind the stream, and refuses what it doesn't know.
            let other = libflate::gzip::MultiDecoder::new(layer).ok().and_then(unpacked);
            assert!(other.is_none_or(|other| other == plain), "gzip is read in two ways");
        }
    }
});

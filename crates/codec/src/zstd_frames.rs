//! Decodes zstd frames, and computes the `diff_id` of layers that stay unchanged.

use std::io::{self, BufRead, Read as _};

use zstart_core::Digest;
use zstd::stream::read::Decoder;

use super::counting::CountingReader;
use super::decode_loop::{BUFFER_BYTES, for_each_chunk, read_magic};
use super::diff_id::DiffIdHasher;
use super::window::{WINDOW_LOG, WINDOW_LOG_MAX};
use super::{LayerError, LayerLimits};

/// First bytes of a zstd frame (RFC 8878, 3.1.1).
const FRAME_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Last three bytes of the sixteen magics of skippable frames (RFC 8878, 3.1.2). The first byte is 0x50 to
/// 0x5f. Container runtimes also treat a layer that starts with a skippable frame as zstd.
const SKIPPABLE_MAGIC: [u8; 3] = [0x2a, 0x4d, 0x18];

/// Whether a layer that starts with `magic` is zstd.
pub(super) fn is_zstd(magic: &[u8]) -> bool {
    match magic {
        [first, rest @ ..] if rest == SKIPPABLE_MAGIC => first & 0xf0 == 0x50,
        magic => magic == FRAME_MAGIC,
    }
}

/// Decodes a zstd layer and returns its `diff_id`. Fails on other compressions, and on windows over 8 MiB,
/// which zstart never writes.
pub fn verify(source: &mut dyn BufRead, limits: LayerLimits) -> Result<Digest, LayerError> {
    let magic = read_magic(source)?;
    if !is_zstd(magic.get_ref()) {
        return Err(LayerError::Zstd {
            offset: 0,
            source: io::Error::other("the layer doesn't start with a zstd frame"),
        });
    }
    diff_id_with_window(WINDOW_LOG, &mut magic.chain(source), limits.max_uncompressed)
}

/// Decodes every frame and returns the `diff_id`: the digest of all uncompressed bytes.
pub(super) fn diff_id(source: &mut dyn BufRead, max_uncompressed: u64) -> Result<Digest, LayerError> {
    diff_id_with_window(WINDOW_LOG_MAX, source, max_uncompressed)
}

fn diff_id_with_window(
    window_log_max: u32,
    source: &mut dyn BufRead,
    max_uncompressed: u64,
) -> Result<Digest, LayerError> {
    let mut hasher = DiffIdHasher::with_limit(max_uncompressed);
    decode_with_window(window_log_max, source, |bytes| hasher.update(bytes))?;
    Ok(hasher.diff_id())
}

/// Decodes every frame and passes the uncompressed bytes to `sink`, in order.
pub fn decode(
    source: &mut dyn BufRead,
    sink: impl FnMut(&[u8]) -> Result<(), LayerError>,
) -> Result<(), LayerError> {
    decode_with_window(WINDOW_LOG_MAX, source, sink)
}

fn decode_with_window(
    window_log_max: u32,
    source: &mut dyn BufRead,
    mut sink: impl FnMut(&[u8]) -> Result<(), LayerError>,
) -> Result<(), LayerError> {
    let init_error = |source| LayerError::Zstd { offset: 0, source };
    let mut decoder = Decoder::with_buffer(CountingReader::new(source)).map_err(init_error)?;
    decoder.window_log_max(window_log_max).map_err(init_error)?;
    for_each_chunk(&mut decoder, &mut vec![0; BUFFER_BYTES], &mut sink, |decoder, source| {
        match decoder.get_ref() {
            compressed if compressed.failed() => LayerError::Read { source },
            compressed => LayerError::Zstd { offset: compressed.count(), source },
        }
    })
}

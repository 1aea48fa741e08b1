//! zstd frames that stay as they are: decoded only to learn what they hold.

use std::io::{self, BufRead, Read as _};

use zstart_core::Digest;
use zstd::stream::read::Decoder;

use super::counting::CountingReader;
use super::decode_loop::{BUFFER_BYTES, for_each_chunk, read_magic};
use super::diff_id::DiffIdHasher;
use super::zstd_converter::WINDOW_LOG;
use super::{LayerError, LayerLimits};

/// First bytes of a zstd frame (RFC 8878, 3.1.1).
const FRAME_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Last three bytes of the sixteen magics of skippable frames (RFC 8878, 3.1.2); the first is 0x50
/// to 0x5f. Container runtimes take a layer that starts with one for zstd too.
const SKIPPABLE_MAGIC: [u8; 3] = [0x2a, 0x4d, 0x18];
/// The largest window that is decoded: 32 MiB, as much as the encoder of Go's container tools ever
/// asks for. It bounds the memory that somebody else's layer can take.
const WINDOW_LOG_MAX: u32 = 25;

/// Whether a layer that starts with these bytes is zstd.
pub(super) fn is_zstd(magic: &[u8]) -> bool {
    match magic {
        [first, rest @ ..] if rest == SKIPPABLE_MAGIC => first & 0xf0 == 0x50,
        magic => magic == FRAME_MAGIC,
    }
}

/// Decodes a layer that must be zstd as zstart writes it, and returns its `diff_id`.
pub fn verify(source: &mut dyn BufRead, limits: LayerLimits) -> Result<Digest, LayerError> {
    let magic = read_magic(source)?;
    if !is_zstd(magic.get_ref()) {
        return Err(LayerError::Zstd { offset: 0, source: io::Error::other("this is no zstd frame") });
    }
    diff_id_with_window(WINDOW_LOG, &mut magic.chain(source), limits.max_uncompressed)
}

/// Decodes every frame and answers the digest of all that they hold.
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

/// Decodes every frame and hands the bytes to `consume`, in order.
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

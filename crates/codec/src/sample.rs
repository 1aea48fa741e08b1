//! Measures on a sample of a gzip layer how well its compressor searched.

use std::io::{self, Read as _, Write as _};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::DeflateEncoder;

/// The sample is one in this number of the layer's compressed bytes, so that its work is small compared with the layer's.
const SHARE: u64 = 64;
/// Size of the smallest useful sample in compressed bytes. Smaller layers have none.
const MIN_BYTES: u64 = 64 << 10;
/// Size of the largest sample in compressed bytes.
const MAX_BYTES: u64 = 128 << 10;
/// Most uncompressed bytes of a sample. They are in memory.
const MAX_PLAIN_BYTES: u64 = 4 << 20;
/// Size of a sample, divided by its size at zlib-rs's default level, above which transcoding can give a larger layer than
/// level 3. Measured on three layers, with the transcoded layer's size divided by level 3's: gzip -6 has 0.96 to 1.01
/// (0.94 to 0.98), Go's default level 0.99 to 1.00 (0.97 to 0.99), klauspost's 1.02 to 1.05 (1.00 to 1.03), gzip -4 0.99
/// to 1.06 (0.97 to 1.02), gzip -2 1.03 to 1.17 (1.03 to 1.12).
const MAX_EXCESS: f64 = 1.02;

/// Returns whether the compressor of a layer found fewer matches than zlib-rs at its default level, so that encoding
/// probably gives a smaller layer than transcoding. `start` has the layer's first bytes. A small layer, and one whose sample is damaged
/// or too large, counts as searched well.
pub(super) fn is_poorly_searched(start: &[u8], compressed_size: u64) -> bool {
    let bytes = (compressed_size / SHARE).min(MAX_BYTES);
    if bytes < MIN_BYTES {
        return false;
    }
    let sample = usize::try_from(bytes).ok().and_then(|bytes| start.get(..bytes));
    let Some(plain) = sample.and_then(decode) else { return false };
    let Ok(deflated) = deflated_size(&plain) else { return false };
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
    let excess = bytes as f64 / deflated as f64;
    excess > MAX_EXCESS
}

/// The uncompressed bytes of a sample, which ends anywhere.
fn decode(sample: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let decoded = MultiGzDecoder::new(sample).take(MAX_PLAIN_BYTES).read_to_end(&mut plain);
    let is_cut = decoded.is_err_and(|error| error.kind() == io::ErrorKind::UnexpectedEof);
    is_cut.then_some(plain)
}

/// Size at the default level.
fn deflated_size(plain: &[u8]) -> io::Result<usize> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain)?;
    Ok(encoder.finish()?.len())
}

//! Encodes large layers in jobs, which zstd's own workers process in parallel.
//!
//! One thread decodes. With enough cores, another thread hashes. The workers encode, so a single layer keeps
//! more than two cores busy. The result is one frame, and its bytes don't depend on the number of threads.

use std::io::Write;

use zstd::stream::write::Encoder;
use zstd::zstd_safe::CParameter;

use super::LayerError;
use super::compression::Compression;
use super::encoder_thread::ByteSink;
use super::method::GzipLayers;
use crate::{Level, Method};

/// Smallest compressed size of a large layer, in bytes. Two smaller layers in parallel keep the cores equally
/// busy. At a layer's end, fewer jobs than workers remain; the end is a smaller share of a large layer.
const MIN_COMPRESSED_SIZE: u64 = 32 << 20;
/// Highest level that uses jobs. Higher levels find more distant matches, which a job can't see, and their
/// tables (one set per worker) need much more memory.
const MAX_LEVEL: i32 = 3;
/// Uncompressed bytes per job. A job also sees the last eighth of the window before its own bytes.
///
/// Compared with encoding in one piece at level 3, a Debian tree becomes 1.7 % larger, a `node_modules`
/// 1.6 %, Python packages not at all. A conversion saves 6 to 13 % of its work, because zstd searches a job
/// without the seam of a ring buffer (`make bench`). Jobs of 8 MiB cost 0 to 0.7 % in size, and twice the
/// memory.
pub const JOB_BYTES: u32 = 4 << 20;
/// Number of zstd workers. Two workers encode as fast as one thread decodes, so more workers would wait.
const WORKERS: u32 = 2;
/// Number of cores from which a separate thread hashes the uncompressed bytes and feeds the workers. The
/// decoder's thread has the most work. Without hashing it has 19 to 30 % less, hardly more than each worker.
/// On two cores, the separate thread would add 3 to 5 % work without a gain.
pub(super) const HASH_THREAD_MIN_CORES: usize = 4;
/// Number of smaller layers that need as much memory as one large layer.
const LARGE_LAYER_WEIGHT: u32 = 2;

/// Whether a layer of `compressed_size` bytes is encoded in jobs at `level`.
pub(super) fn uses_jobs(level: Level, compressed_size: u64) -> bool {
    compressed_size >= MIN_COMPRESSED_SIZE && level.get() <= MAX_LEVEL
}

/// A layer's weight: the number of small layers that need as much memory and as many cores. A zstd layer of
/// another encoder may need a window four times as large as zstart's.
pub fn layer_weight(level: Level, method: Method, compressed_size: u64, compression: Compression) -> u32 {
    let is_heavy = match compression {
        Compression::Zstd => true,
        Compression::Gzip if method.gzip_layers(level) != GzipLayers::Encode => false,
        Compression::Gzip | Compression::Plain => uses_jobs(level, compressed_size),
    };
    if is_heavy { LARGE_LAYER_WEIGHT } else { 1 }
}

/// Parameters that make zstd encode in jobs.
pub(super) const PARAMETERS: [CParameter; 2] =
    [CParameter::NbWorkers(WORKERS), CParameter::JobSize(JOB_BYTES)];

/// Runs `decode` and encodes the decoded bytes with zstd's workers. The calling thread feeds the workers.
pub(super) fn encode<W: Write, T>(
    mut encoder: Encoder<'_, W>,
    decode: impl FnOnce(ByteSink<'_>) -> Result<T, LayerError>,
) -> Result<T, LayerError> {
    let write_error = |source| LayerError::Write { source };
    let decoded = decode(&mut |bytes| encoder.write_all(bytes).map_err(write_error))?;
    encoder.finish().and_then(|mut target| target.flush()).map_err(write_error)?;
    Ok(decoded)
}

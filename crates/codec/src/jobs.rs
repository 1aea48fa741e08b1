//! Large layers: cut into jobs, which zstd's own workers encode side by side. One thread decodes, another
//! one hashes where there are cores for it, and the others encode what they give, so that a layer alone keeps
//! more than two cores busy. What comes out is one frame, and the same however many threads there are.

use std::io::Write;

use zstd::stream::write::Encoder;
use zstd::zstd_safe::CParameter;

use super::LayerError;
use super::encoder_thread::ByteSink;
use crate::Level;

/// Layers of so many compressed bytes are large. Two of smaller ones side by side keep cores as busy, and
/// the end of a layer, where fewer jobs than workers are left, is a smaller part of this.
const MIN_COMPRESSED_SIZE: u64 = 32 << 20;
/// The highest level at which they are treated as such: the matches of higher ones are farther away, which
/// is what a job can't see, and their tables, one set a worker, take much more memory.
const MAX_LEVEL: i32 = 3;
/// How many plain bytes a job has. In front of them it sees the last eighth of the window. At level 3 a
/// Debian tree becomes 1.7 % larger than in one piece, a `node_modules` 1.6 %, Python packages not at all, for
/// 6 to 13 % less of a conversion's work: zstd searches a job without the seam of a ring buffer (`make bench`).
/// Jobs of 8 MiB cost 0 to 0.7 %, and twice the memory.
pub const JOB_BYTES: u32 = 4 << 20;
/// How many workers there are. More would wait: two encode as fast as one thread decodes.
const WORKERS: u32 = 2;
/// From so many cores on, what is decoded is hashed by a thread of its own, which feeds the workers. The
/// decoder's thread is the one with the most work: without the hash it has 19 to 30 % less, and then hardly
/// more than each of the workers. On two cores that would be 3 to 5 % more work for nothing.
pub(super) const HASH_THREAD_MIN_CORES: usize = 4;
/// How many smaller layers take as much memory.
const LARGE_LAYER_WEIGHT: u32 = 2;

/// Whether a layer of so many compressed bytes is encoded so.
pub(super) fn uses_jobs(level: Level, compressed_size: u64) -> bool {
    compressed_size >= MIN_COMPRESSED_SIZE && level.get() <= MAX_LEVEL
}

/// Layers of weight 1 that take as much memory and as many cores as a layer of `compressed_size` bytes. A zstd
/// layer of another encoder may ask for a window four times as large as zstart's.
pub fn layer_weight(level: Level, compressed_size: u64, is_zstd: bool) -> u32 {
    if is_zstd || uses_jobs(level, compressed_size) { LARGE_LAYER_WEIGHT } else { 1 }
}

/// What makes an encoder do it.
pub(super) const PARAMETERS: [CParameter; 2] =
    [CParameter::NbWorkers(WORKERS), CParameter::JobSize(JOB_BYTES)];

/// Runs `decode`, which hands its bytes to what it is given, and encodes them.
pub(super) fn encode<W: Write, T>(
    mut encoder: Encoder<'_, W>,
    decode: impl FnOnce(ByteSink<'_>) -> Result<T, LayerError>,
) -> Result<T, LayerError> {
    let write_error = |source| LayerError::Write { source };
    let decoded = decode(&mut |bytes| encoder.write_all(bytes).map_err(write_error))?;
    encoder.finish().and_then(|mut target| target.flush()).map_err(write_error)?;
    Ok(decoded)
}

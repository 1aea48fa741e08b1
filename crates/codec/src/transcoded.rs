//! Transcodes gzip layers: gzip's matches become zstd's, without a search.

use std::io::{self, BufRead, Write};

use zstart_core::Digest;
use zstart_transcode::{Hints, Settings, TranscodeError, transcode_in_two_threads};

use super::LayerError;
use super::diff_id::DiffIdHasher;
use super::sample;

/// Number of compressed bytes by which a layer is declined.
pub(super) const START_BYTES: usize = 1 << 20;

/// Returns whether encoding a layer with these first bytes ([`START_BYTES`], or all) is smaller than transcoding it:
/// its compressor hardly searched.
pub(super) fn is_declined(start: &[u8], compressed_size: u64) -> bool {
    let Hints { is_fastest, stored } = Hints::read(start);
    is_fastest || stored > start.len() as u64 / 2 || sample::is_poorly_searched(start, compressed_size)
}

/// Transcodes a layer. The calling thread inflates and hashes, another one makes the frame. Returns the digest of the
/// uncompressed bytes.
pub(super) fn transcode(
    source: &mut dyn BufRead,
    target: &mut (dyn Write + Send),
    settings: Settings,
) -> Result<Digest, LayerError> {
    let mut hasher = DiffIdHasher::with_limit(settings.max_uncompressed);
    // The transcoder has the same limit.
    let mut plain = |bytes: &[u8]| hasher.update(bytes).map_err(io::Error::other);
    let mut frame = |bytes: &[u8]| target.write_all(bytes);
    transcode_in_two_threads(source, settings, &mut plain, &mut frame).map_err(layer_error)?;
    target.flush().map_err(|source| LayerError::Write { source })?;
    Ok(hasher.diff_id())
}

fn layer_error(error: TranscodeError) -> LayerError {
    match error {
        TranscodeError::Gzip { offset, damage } => {
            LayerError::Gzip { offset, source: io::Error::new(io::ErrorKind::InvalidData, damage) }
        }
        TranscodeError::TrailingGarbage { offset } => LayerError::TrailingGarbage { offset },
        TranscodeError::TooLarge { max_uncompressed } => LayerError::TooLarge { max_uncompressed },
        TranscodeError::Read { source } => LayerError::Read { source },
        TranscodeError::Sink { source } | TranscodeError::Thread { source } => LayerError::Write { source },
        TranscodeError::Internal { .. } | TranscodeError::Failed => LayerError::Transcode { source: error },
    }
}

//! zstd (RFC 8878) with the decoder of `ruzstd`: several frames, skippable frames, checksums.

use std::io::{BufRead, Read as _};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::fault::ContentFault;
use crate::plain::PlainSink;

/// Largest accepted window: 128 MiB, the limit of `zstd -d`. A decoder keeps one window in memory.
const WINDOW_MAX: u64 = 128 << 20;
/// Uncompressed bytes that are handed on at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// Decodes all frames.
pub(crate) fn decode(source: &mut impl BufRead, sink: &mut PlainSink) -> Result<(), ContentFault> {
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(WINDOW_MAX);
    let mut buffer = vec![0; BUFFER_BYTES];
    while !source.fill_buf().map_err(invalid)?.is_empty() {
        match decoder.reset(&mut *source) {
            Ok(()) => decode_frame(source, &mut decoder, &mut buffer, sink)?,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                magic_number: _,
                length,
            })) => skip(source, u64::from(length))?,
            Err(error) => return Err(invalid(error)),
        }
    }
    Ok(())
}

fn decode_frame(
    source: &mut impl BufRead,
    decoder: &mut FrameDecoder,
    buffer: &mut [u8],
    sink: &mut PlainSink,
) -> Result<(), ContentFault> {
    let mut length = 0;
    let mut is_finished = false;
    while !is_finished {
        is_finished =
            decoder.decode_blocks(&mut *source, BlockDecodingStrategy::UptoBlocks(1)).map_err(invalid)?;
        while decoder.can_collect() > 0 {
            let count = decoder.read(buffer).map_err(invalid)?;
            length += count as u64;
            sink.write(&buffer[..count])?;
        }
    }
    // ruzstd reports both checksums and compares neither them nor the size.
    if let Some(stated) = decoder.get_checksum_from_data()
        && decoder.get_calculated_checksum() != Some(stated)
    {
        return Err(invalid("the checksum of a frame does not match"));
    }
    // ruzstd returns 0 for a frame without a content size.
    let stated = decoder.content_size();
    if stated != 0 && stated != length {
        return Err(invalid("the content size of a frame does not match"));
    }
    Ok(())
}

fn skip(source: &mut impl BufRead, mut length: u64) -> Result<(), ContentFault> {
    while length > 0 {
        let available = source.fill_buf().map_err(invalid)?.len();
        if available == 0 {
            return Err(invalid("a skippable frame is truncated"));
        }
        let count = length.min(available as u64);
        #[expect(clippy::cast_possible_truncation, reason = "at most `available`, which is a usize")]
        source.consume(count as usize);
        length -= count;
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "a function for `map_err`")]
fn invalid(reason: impl ToString) -> ContentFault {
    ContentFault::Undecodable { compression: "zstd", reason: reason.to_string() }
}

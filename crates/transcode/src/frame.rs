//! The zstd frame (RFC 8878, 3.1.1): header, blocks of all segments, checksum.

use super::error::Fault;
use super::limits::WINDOW_LOG;

/// Magic number of a frame.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Descriptor of a frame without checksum, content size and dictionary.
const DESCRIPTOR: u8 = 0;
/// Flag of a checksum in the descriptor.
const CHECKSUM_FLAG: u8 = 1 << 2;
/// Number of bytes of a header with the descriptor above.
const HEADER_BYTES: usize = 6;
/// Number of bytes of a block's header.
const BLOCK_HEADER_BYTES: usize = 3;
/// Flag of a frame's last block.
const LAST: u32 = 1;
/// Type of a block that repeats one byte. Its size field doesn't say how long its content is.
const RLE: u32 = 1;
/// An empty last block.
pub(crate) const END: [u8; BLOCK_HEADER_BYTES] = [1, 0, 0];

/// The header of the written frame, with a flag for the checksum at its end.
pub(crate) fn header(has_checksum: bool) -> [u8; HEADER_BYTES] {
    let [a, b, c, d] = MAGIC;
    let descriptor = if has_checksum { DESCRIPTOR | CHECKSUM_FLAG } else { DESCRIPTOR };
    // The exponent is in the upper five bits, and counts from 1 KiB.
    [a, b, c, d, descriptor, ((WINDOW_LOG - 10) << 3).to_le_bytes()[0]]
}

/// Takes the blocks out of a frame with one segment, and clears the flag of the last one, so that other blocks
/// can follow.
pub(crate) fn take_blocks(frame: &mut [u8]) -> Result<&[u8], Fault> {
    let (header, blocks) = frame.split_at_mut_checked(HEADER_BYTES).ok_or(Fault::Frame)?;
    if header[..4] != MAGIC || header[4] != DESCRIPTOR {
        return Err(Fault::Frame);
    }
    let mut at = 0;
    loop {
        let bytes: &mut [u8; BLOCK_HEADER_BYTES] =
            blocks.get_mut(at..).and_then(<[u8]>::first_chunk_mut).ok_or(Fault::Frame)?;
        let fields = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
        let content = if (fields >> 1) & 3 == RLE { 1 } else { (fields >> 3) as usize };
        at += BLOCK_HEADER_BYTES + content;
        if fields & LAST != 0 {
            bytes[0] &= !(LAST.to_le_bytes()[0]);
            return if at == blocks.len() { Ok(blocks) } else { Err(Fault::Frame) };
        }
    }
}

//! Decodes written segments again and compares them with the plain bytes.

use zstd_safe::{DCtx, get_error_name};

use super::error::Fault;
use super::frame;

/// Decodes the blocks of a segment by libzstd, and compares the result with `plain`. `before` holds the plain
/// bytes before the segment: matches may refer to all of the window.
///
/// A segment can be decoded alone, because zstd encodes its first blocks with new tables, and because its first
/// offsets are written in full.
pub(crate) fn verify(blocks: &[u8], before: &[u8], plain: &[u8]) -> Result<(), Fault> {
    let decode_error = |code| Fault::Decode { message: get_error_name(code) };
    let frame = [&frame::header(false)[..], blocks, &frame::END].concat();
    let mut context = DCtx::create();
    context.ref_prefix(before).map_err(decode_error)?;
    let mut decoded = Vec::with_capacity(plain.len());
    context.decompress(&mut decoded, &frame).map_err(decode_error)?;
    if decoded == plain { Ok(()) } else { Err(Fault::Different) }
}

//! Decodes written segments, or the whole frame, again and compares the result with the plain bytes.

use zstd_safe::{DCtx, InBuffer, OutBuffer, get_error_name};

use super::error::Fault;
use super::frame;
use super::window::Window;

/// Size in bytes of the buffer for decoded bytes.
const BUFFER_BYTES: usize = 128 << 10;

fn decode_error(code: usize) -> Fault {
    Fault::Decode { message: get_error_name(code) }
}

/// Decodes the blocks of a segment by libzstd, and compares the result with `plain`. `before` holds the plain
/// bytes before the segment: matches may refer to all of the window.
///
/// A segment can be decoded alone, because zstd encodes its first blocks with new tables. The decoder starts with
/// the offsets that the encoder assumes. Therefore `assumed::find_assumed` checks that the segment uses none of
/// them, and [`FrameVerifier`] decodes across segments.
pub(crate) fn verify_segment(blocks: &[u8], before: &[u8], plain: &[u8]) -> Result<(), Fault> {
    let frame = [&frame::header(false)[..], blocks, &frame::END].concat();
    let mut context = DCtx::create();
    context.ref_prefix(before).map_err(decode_error)?;
    let mut decoded = Vec::with_capacity(plain.len());
    context.decompress(&mut decoded, &frame).map_err(decode_error)?;
    if decoded == plain { Ok(()) } else { Err(Fault::Different) }
}

/// Decodes a frame while it is written, and compares the result with the plain bytes. Needs a window of its own.
pub(crate) struct FrameVerifier {
    context: DCtx<'static>,
    buffer: Vec<u8>,
    /// Number of decoded bytes.
    position: u64,
    is_complete: bool,
}

impl FrameVerifier {
    pub(crate) fn new() -> Self {
        let (context, buffer) = (DCtx::create(), Vec::with_capacity(BUFFER_BYTES));
        Self { context, buffer, position: 0, is_complete: false }
    }

    /// Decodes the next bytes of the frame. The window holds the plain bytes of the last segment.
    pub(crate) fn push(&mut self, frame: &[u8], window: &Window) -> Result<(), Fault> {
        let mut input = InBuffer::around(frame);
        loop {
            self.buffer.clear();
            let mut output = OutBuffer::around(&mut self.buffer);
            let hint = self.context.decompress_stream(&mut output, &mut input).map_err(decode_error)?;
            self.is_complete = hint == 0;
            if !window.since(self.position).starts_with(&self.buffer) {
                return Err(Fault::Different);
            }
            self.position += self.buffer.len() as u64;
            if input.pos() == frame.len() && self.buffer.len() < BUFFER_BYTES {
                return Ok(());
            }
        }
    }

    /// Checks that the frame is complete and has all plain bytes.
    pub(crate) fn finish(&self, window: &Window) -> Result<(), Fault> {
        if self.is_complete && self.position == window.position() { Ok(()) } else { Err(Fault::Different) }
    }
}

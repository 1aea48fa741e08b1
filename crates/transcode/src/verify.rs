//! Decodes written segments, or the whole frame, again and compares the result with the plain bytes.

use zstd_safe::{DCtx, InBuffer, OutBuffer, get_error_name};

use super::error::Fault;
use super::frame;
use super::window::{HEADROOM_BYTES, Window, window_before};

/// Size in bytes of the buffer for decoded bytes.
const BUFFER_BYTES: usize = 128 << 10;

fn decode_error(code: usize) -> Fault {
    Fault::Decode { message: get_error_name(code) }
}

/// Start of a dictionary (RFC 8878, 5): magic number, identifier, and the tables of a Huffman code and of three FSE
/// codes, all of two symbols.
const DICTIONARY: [u8; 16] = [
    0x37, 0xa4, 0x30, 0xec, 1, 0, 0, 0, // magic number and identifier
    0x80, 0x10, // weights of the Huffman code
    0x10, 0x3f, 0x10, 0x3f, 0x10, 0x3f, // probabilities of offsets, match lengths and literal lengths
];
/// Number of repeated offsets that follow the tables, of 4 bytes each.
const OFFSETS: usize = 3;
/// Index in the headroom where the dictionary starts.
const START: usize = HEADROOM_BYTES - DICTIONARY.len() - 4 * OFFSETS;

/// Decodes the blocks of a segment by libzstd, and compares the result with the `length` plain bytes from position
/// `start` on. Matches may refer to all of the window before them.
///
/// A segment must depend neither on the tables nor on the repeated offsets of the segments before it. A dictionary
/// has tables and offsets that fit nothing, so that a segment that uses them decodes to other bytes.
pub(crate) fn verify_segment(
    blocks: &[u8],
    window: &mut Window,
    start: u64,
    length: usize,
) -> Result<(), Fault> {
    let frame = [&frame::header(false)[..], blocks, &frame::END].concat();
    let mut context = DCtx::create();
    window.with_dictionary(&dictionary_header(window_before(start)), start, |dictionary, plain| {
        let plain = plain.get(..length).ok_or(Fault::Frame)?;
        let mut decoded = Vec::with_capacity(plain.len());
        let size = if start == 0 {
            context.decompress(&mut decoded, &frame)
        } else {
            context.decompress_using_dict(&mut decoded, &frame, &dictionary[START..])
        };
        size.map_err(decode_error)?;
        if decoded == plain { Ok(()) } else { Err(Fault::Different) }
    })
}

/// Start of a dictionary with a number of plain bytes. Its repeated offsets are the largest ones possible.
#[expect(clippy::cast_possible_truncation, reason = "the window has fewer than 2^32 bytes")]
fn dictionary_header(plain: usize) -> [u8; HEADROOM_BYTES] {
    let content = plain as u32;
    let mut header = [0; HEADROOM_BYTES];
    let (tables, offsets) = header[START..].split_at_mut(DICTIONARY.len());
    tables.copy_from_slice(&DICTIONARY);
    for (number, offset) in (0..).zip(offsets.chunks_exact_mut(4)) {
        offset.copy_from_slice(&content.saturating_sub(number).to_le_bytes());
    }
    header
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A window with these bytes, of which the last `count` are a segment. Returns the segment's position.
    fn window(before: &[u8], segment: &[u8]) -> (Window, u64) {
        let mut window = Window::new(1 << 20).unwrap();
        window.append(before);
        window.append(segment);
        (window, before.len() as u64)
    }

    #[test]
    fn segment_that_assumes_offsets_is_noticed() {
        // zstd writes the match, 1 byte back, as the repeated offset of a frame's start.
        let segment = [&b"0123456789"[..], &[b'x'; 1000]].concat();
        let mut compressor = zstd::bulk::Compressor::new(3).unwrap();
        for parameter in [zstd_safe::CParameter::WindowLog(23), zstd_safe::CParameter::ContentSizeFlag(false)]
        {
            compressor.set_parameter(parameter).unwrap();
        }
        let mut frame = compressor.compress(&segment).unwrap();
        let blocks = frame::take_blocks(&mut frame).unwrap();
        let text: Vec<u8> = (0..4000_u32).flat_map(|number| number.to_string().into_bytes()).collect();
        let (mut first, start) = window(b"", &segment);
        assert_eq!(verify_segment(blocks, &mut first, start, segment.len()), Ok(()));
        let (mut later, start) = window(&text, &segment);
        let kept = later.since(0).to_vec();
        assert_eq!(verify_segment(blocks, &mut later, start, segment.len()), Err(Fault::Different));
        assert_eq!(later.since(0), kept, "the header is removed again");
    }
}

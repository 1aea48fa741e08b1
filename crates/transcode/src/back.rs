//! The second stage: blocks to a zstd frame.

use std::hash::Hasher as _;

use twox_hash::XxHash64;

use super::encoder::Encoder;
use super::error::{Fault, TranscodeError};
use super::far::FarMatcher;
use super::frame;
use super::front::{PlainBlock, Receiver};
use super::segment::{self, Segment};
use super::settings::Verify;
use super::transcoder::Summary;
use super::verify::{self, FrameVerifier};
use super::window::Window;

/// Writes one zstd frame.
pub(crate) struct Back {
    verify: Verify,
    window: Window,
    far: FarMatcher,
    segment: Segment,
    encoder: Encoder,
    /// Decoder of the whole frame, if the settings want it.
    verifier: Option<FrameVerifier>,
    /// Checksum of all plain bytes.
    checksum: XxHash64,
    summary: Summary,
}

impl Back {
    pub(crate) fn new(verify: Verify) -> Result<Self, TranscodeError> {
        let internal = |fault| TranscodeError::Internal { position: 0, fault };
        let encoder = Encoder::new().map_err(internal)?;
        Ok(Self {
            verify,
            window: Window::new(segment::MAX_BYTES).map_err(internal)?,
            far: FarMatcher::new(),
            segment: Segment::new(),
            encoder,
            verifier: (verify == Verify::Full).then(FrameVerifier::new),
            checksum: XxHash64::with_seed(0),
            summary: Summary::default(),
        })
    }

    /// Adds a block to the frame, and passes finished parts of the frame to `frame`.
    pub(crate) fn push(
        &mut self,
        block: PlainBlock<'_>,
        frame: &mut Receiver<'_>,
    ) -> Result<(), TranscodeError> {
        if block.plain.is_empty() {
            return Ok(());
        }
        // A full segment waits for the next block, because only then it isn't the last one.
        if self.segment.is_full() {
            self.encode_segment(false, frame)?;
            if self.window.is_lap_complete() {
                self.window.start_lap();
            }
        }
        self.checksum.write(block.plain);
        let position = self.window.position();
        let far_block = self.window.append(block.plain);
        let (sequences, first) = self.segment.sequences();
        let literals = self.far.rewrite(far_block, block.tokens, block.first, sequences);
        self.segment
            .end_block(far_block, first, literals)
            .map_err(|fault| TranscodeError::Internal { position, fault })
    }

    /// Ends the frame. The gzip bytes aren't counted in the result.
    pub(crate) fn finish(&mut self, frame: &mut Receiver<'_>) -> Result<Summary, TranscodeError> {
        if self.segment.is_empty() {
            self.write(&frame::header(true), frame)?;
        } else {
            self.encode_segment(true, frame)?;
        }
        let [a, b, c, d, ..] = self.checksum.finish().to_le_bytes();
        self.write(&[&frame::END[..], &[a, b, c, d]].concat(), frame)?;
        if let Some(verifier) = &self.verifier {
            let position = self.segment.start();
            verifier.finish(&self.window).map_err(|fault| TranscodeError::Internal { position, fault })?;
        }
        self.summary.plain = self.window.position();
        Ok(self.summary)
    }

    /// Encodes the segment, verifies it if the settings say so, and passes it on.
    fn encode_segment(&mut self, is_last: bool, frame: &mut Receiver<'_>) -> Result<(), TranscodeError> {
        let number = self.summary.segments;
        let start = self.segment.start();
        let internal = |fault| TranscodeError::Internal { position: start, fault };
        if number == 0 {
            self.write(&frame::header(true), frame)?;
        }
        let segment = self.segment.checked(&self.window).ok_or_else(|| internal(Fault::Frame))?;
        let length = segment.plain().len();
        let encoded = self.encoder.encode(segment).map_err(internal)?;
        #[cfg(test)]
        super::sabotage::strike(super::sabotage::Stage::Entropy, encoded);
        let blocks = frame::take_blocks(encoded).map_err(internal)?;
        if let Some(verifier) = &mut self.verifier {
            verifier.push(blocks, &self.window).map_err(internal)?;
            self.summary.verified += 1;
        } else if self.verify.includes(number == 0 || is_last, self.window.is_in_one_piece(start)) {
            verify::verify_segment(blocks, &mut self.window, start, length).map_err(internal)?;
            self.summary.verified += 1;
        }
        frame(blocks).map_err(|source| TranscodeError::Sink { source })?;
        self.summary.frame += blocks.len() as u64;
        self.summary.segments += 1;
        self.segment.start_next();
        Ok(())
    }

    /// Writes bytes of the frame that aren't a segment's.
    fn write(&mut self, bytes: &[u8], frame: &mut Receiver<'_>) -> Result<(), TranscodeError> {
        if let Some(verifier) = &mut self.verifier {
            let position = self.segment.start();
            verifier
                .push(bytes, &self.window)
                .map_err(|fault| TranscodeError::Internal { position, fault })?;
        }
        self.summary.frame += bytes.len() as u64;
        frame(bytes).map_err(|source| TranscodeError::Sink { source })
    }
}

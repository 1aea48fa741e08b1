//! The order of a transcoding's steps.

use std::hash::Hasher as _;
use std::io::{self, BufRead};

use crc32fast::Hasher as Crc32;
use twox_hash::XxHash64;

use super::encoder::Encoder;
use super::error::{Damage, Fault, TranscodeError};
use super::far::{Block, FarMatcher};
use super::frame;
use super::inflate::{Inflater, Progress};
use super::input::Input;
use super::member::HeaderParser;
use super::segment::{self, Segment};
use super::sequence::Sequence;
use super::settings::{Settings, Verify};
use super::tokens::Tokens;
use super::verify::{self, FrameVerifier};
use super::window::{BLOCK_BYTES, HEADROOM_BYTES, Window};

/// Room for the last symbols of a block: three literals and a match of 258 bytes.
const LAST_SYMBOLS_BYTES: usize = 262;
/// Number of bytes of a member's trailer: checksum and length.
const TRAILER_BYTES: usize = 8;
/// Receives the results of a transcoding.
pub trait Sink {
    /// Receives the next uncompressed bytes, at most 128 KiB. The transcoder has not yet compared them with the
    /// member's checksum.
    fn plain(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Receives the next bytes of the zstd frame.
    fn frame(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// Figures of a finished transcoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Number of gzip bytes.
    pub gzip: u64,
    /// Number of uncompressed bytes.
    pub plain: u64,
    /// Number of bytes of the zstd frame.
    pub frame: u64,
    /// Number of segments: parts of about half a mebibyte that zstd encodes in one call.
    pub segments: u64,
    /// Number of segments that were decoded again and compared.
    pub verified: u64,
}

/// The part of a gzip stream that the next byte belongs to.
enum Stage {
    Header(Box<HeaderParser>),
    Body,
    Trailer,
    /// Zeros between two members, or behind the last one.
    Padding,
}

/// Transcodes one gzip stream.
pub struct Transcoder {
    settings: Settings,
    /// A call failed. The state has no meaning then.
    has_failed: bool,
    stage: Stage,
    input: Input,
    inflater: Inflater,
    window: Window,
    tokens: Tokens,
    far: FarMatcher,
    /// Sequences of one block, with far matches. Kept for its memory.
    sequences: Vec<Sequence>,
    segment: Segment,
    encoder: Encoder,
    /// Decoder of the whole frame, if the settings want it.
    verifier: Option<FrameVerifier>,
    /// Position of the member's first byte.
    member_start: u64,
    /// Position of the first byte of the block in work, once it has been started.
    block_start: Option<u64>,
    /// Position of the first byte that the sink has not received.
    unsent: u64,
    /// Checksum of the member.
    crc: Crc32,
    /// Checksum of all plain bytes.
    checksum: XxHash64,
    summary: Summary,
}

/// Reads gzip from `source` to its end, and passes the uncompressed bytes and a zstd frame to `sink`.
pub fn transcode(
    source: &mut dyn BufRead,
    settings: Settings,
    sink: &mut dyn Sink,
) -> Result<Summary, TranscodeError> {
    let mut transcoder = Transcoder::new(settings)?;
    loop {
        let piece = source.fill_buf().map_err(|source| TranscodeError::Read { source })?;
        if piece.is_empty() {
            return transcoder.finish(sink);
        }
        let count = piece.len();
        transcoder.push(piece, sink)?;
        source.consume(count);
    }
}

impl Transcoder {
    /// A transcoder of one stream.
    pub fn new(settings: Settings) -> Result<Self, TranscodeError> {
        let encoder = Encoder::new().map_err(|fault| TranscodeError::Internal { position: 0, fault })?;
        Ok(Self {
            settings,
            has_failed: false,
            stage: Stage::Header(Box::new(HeaderParser::new())),
            input: Input::new(),
            inflater: Inflater::new(),
            window: Window::new(segment::MAX_BYTES),
            tokens: Tokens::new(),
            far: FarMatcher::new(),
            sequences: Vec::new(),
            segment: Segment::new(),
            encoder,
            verifier: (settings.verify == Verify::Full).then(FrameVerifier::new),
            member_start: 0,
            block_start: None,
            unsent: 0,
            crc: Crc32::new(),
            checksum: XxHash64::with_seed(0),
            summary: Summary::default(),
        })
    }

    /// Transcodes the next bytes of the gzip stream. The results don't depend on how the stream is cut into
    /// pieces.
    pub fn push(&mut self, mut piece: &[u8], sink: &mut dyn Sink) -> Result<(), TranscodeError> {
        self.stop_on_error(|transcoder| {
            while !piece.is_empty() {
                transcoder.input.fill(&mut piece);
                transcoder.run(sink)?;
            }
            Ok(())
        })
    }

    /// Ends the gzip stream and the frame.
    pub fn finish(mut self, sink: &mut dyn Sink) -> Result<Summary, TranscodeError> {
        self.stop_on_error(|transcoder| {
            transcoder.input.set_final();
            transcoder.run(sink)?;
            if !matches!(transcoder.stage, Stage::Padding) {
                return Err(transcoder.damaged(Damage::Truncated));
            }
            transcoder.close_block(sink)?;
            if transcoder.segment.is_empty() {
                transcoder.write_header(sink)?;
            } else {
                transcoder.encode_segment(true, sink)?;
            }
            let [a, b, c, d, ..] = transcoder.checksum.finish().to_le_bytes();
            transcoder.write(&[&frame::END[..], &[a, b, c, d]].concat(), sink)?;
            if let Some(verifier) = &transcoder.verifier {
                let position = transcoder.segment.start();
                verifier
                    .finish(&transcoder.window)
                    .map_err(|fault| TranscodeError::Internal { position, fault })?;
            }
            transcoder.summary.gzip = transcoder.input.offset();
            transcoder.summary.plain = transcoder.window.position();
            Ok(transcoder.summary)
        })
    }

    /// Calls `step`, unless an earlier call failed.
    fn stop_on_error<T>(
        &mut self,
        step: impl FnOnce(&mut Self) -> Result<T, TranscodeError>,
    ) -> Result<T, TranscodeError> {
        if self.has_failed {
            return Err(TranscodeError::Failed);
        }
        let result = step(self);
        self.has_failed = result.is_err();
        result
    }

    /// Processes the input until it is used up.
    fn run(&mut self, sink: &mut dyn Sink) -> Result<(), TranscodeError> {
        loop {
            let has_more = match &mut self.stage {
                Stage::Header(parser) => {
                    let parsed = parser.parse(self.input.rest());
                    let (used, is_complete) = parsed.map_err(|damage| self.damaged(damage))?;
                    self.input.consume(used);
                    if is_complete {
                        self.start_member();
                    }
                    is_complete
                }
                Stage::Body => self.inflate(sink)?,
                Stage::Trailer => self.check_trailer()?,
                Stage::Padding => self.skip_padding()?,
            };
            if !has_more {
                return Ok(());
            }
        }
    }

    fn start_member(&mut self) {
        self.stage = Stage::Body;
        self.inflater.start();
        self.member_start = self.window.position();
        self.crc = Crc32::new();
    }

    /// Inflates up to the end of a block, of the deflate stream, or of the input. Returns whether there is more
    /// to do.
    fn inflate(&mut self, sink: &mut dyn Sink) -> Result<bool, TranscodeError> {
        let start = self.start_block();
        let oldest = self.window.index(self.member_start);
        let limit = self.window.index(start) + BLOCK_BYTES - LAST_SYMBOLS_BYTES;
        let progress = self.inflater.run(&mut self.input, &mut self.window, &mut self.tokens, oldest, limit);
        match progress.map_err(|damage| self.damaged(damage))? {
            Progress::NeedInput => Ok(false),
            Progress::Full => self.close_block(sink).map(|()| true),
            Progress::Ended => {
                self.send_plain(sink)?;
                self.stage = Stage::Trailer;
                Ok(true)
            }
        }
    }

    /// Starts a block, if none is in work. Returns the position of its first byte.
    fn start_block(&mut self) -> u64 {
        if let Some(start) = self.block_start {
            return start;
        }
        self.window.make_room(self.segment.start());
        self.tokens.start_block(self.window.end());
        let start = self.window.position();
        self.block_start = Some(start);
        start
    }

    /// Passes new plain bytes to the hashers and the sink.
    fn send_plain(&mut self, sink: &mut dyn Sink) -> Result<(), TranscodeError> {
        let max_uncompressed = self.settings.max_uncompressed;
        if self.window.position() > max_uncompressed {
            return Err(TranscodeError::TooLarge { max_uncompressed });
        }
        let bytes = self.window.since(self.unsent);
        self.crc.update(bytes);
        self.checksum.write(bytes);
        if !bytes.is_empty() {
            sink.plain(bytes).map_err(|source| TranscodeError::Sink { source })?;
        }
        self.unsent = self.window.position();
        Ok(())
    }

    /// Compares a member's checksum and length. Returns whether the trailer is complete.
    fn check_trailer(&mut self) -> Result<bool, TranscodeError> {
        let Some(trailer) = self.input.rest().first_chunk::<TRAILER_BYTES>() else { return Ok(false) };
        let [a, b, c, d, length @ ..] = *trailer;
        let plain = self.window.position() - self.member_start;
        if u32::from_le_bytes([a, b, c, d]) != self.crc.clone().finalize() {
            return Err(self.damaged(Damage::Checksum));
        }
        if u64::from(u32::from_le_bytes(length)) != plain & u64::from(u32::MAX) {
            return Err(self.damaged(Damage::Length));
        }
        self.input.consume(TRAILER_BYTES);
        self.stage = Stage::Padding;
        Ok(true)
    }

    /// Skips zeros, as gzip and pigz do. Returns whether another member follows.
    fn skip_padding(&mut self) -> Result<bool, TranscodeError> {
        let rest = self.input.rest();
        let zeros = rest.iter().position(|byte| *byte != 0);
        let next = zeros.map(|zeros| rest[zeros]);
        self.input.consume(zeros.unwrap_or(rest.len()));
        match next {
            None => Ok(false),
            Some(0x1f) => {
                self.stage = Stage::Header(Box::new(HeaderParser::new()));
                Ok(true)
            }
            Some(_) => Err(TranscodeError::TrailingGarbage { offset: self.input.offset() }),
        }
    }

    /// Ends the block in work: makes sequences of its tokens and adds them to the segment.
    fn close_block(&mut self, sink: &mut dyn Sink) -> Result<(), TranscodeError> {
        self.send_plain(sink)?;
        let Some(start) = self.block_start.take() else { return Ok(()) };
        if self.window.position() == start {
            return Ok(());
        }
        // A full segment waits for the next block, because only then it isn't the last one.
        if self.segment.is_full() {
            self.encode_segment(false, sink)?;
        }
        let block = Block {
            bytes: self.window.bytes(),
            base: self.window.base(),
            oldest: HEADROOM_BYTES,
            start: self.window.index(start),
            end: self.window.end(),
        };
        self.sequences.clear();
        let tokens = self.tokens.block();
        let literals = self.far.rewrite(block, tokens, &mut self.sequences);
        #[cfg(test)]
        super::sabotage::strike(super::sabotage::Stage::Far, &mut self.sequences);
        self.segment
            .add_block(block, &mut self.sequences, literals)
            .map_err(|fault| TranscodeError::Internal { position: start, fault })
    }

    /// Encodes the segment, verifies it if the settings say so, and passes it to the sink.
    fn encode_segment(&mut self, is_last: bool, sink: &mut dyn Sink) -> Result<(), TranscodeError> {
        let number = self.summary.segments;
        let start = self.segment.start();
        let internal = |fault| TranscodeError::Internal { position: start, fault };
        if number == 0 {
            self.write_header(sink)?;
        }
        let segment = self.segment.checked(&self.window).ok_or_else(|| internal(Fault::Frame))?;
        let length = segment.plain().len();
        let frame = self.encoder.encode(segment).map_err(internal)?;
        #[cfg(test)]
        super::sabotage::strike(super::sabotage::Stage::Entropy, frame);
        let blocks = frame::take_blocks(frame).map_err(internal)?;
        if let Some(verifier) = &mut self.verifier {
            verifier.push(blocks, &self.window).map_err(internal)?;
            self.summary.verified += 1;
        } else if self.settings.verify.includes(number, is_last) {
            verify::verify_segment(blocks, &mut self.window, start, length).map_err(internal)?;
            self.summary.verified += 1;
        }
        sink.frame(blocks).map_err(|source| TranscodeError::Sink { source })?;
        self.summary.frame += blocks.len() as u64;
        self.summary.segments += 1;
        self.segment.start_next();
        Ok(())
    }

    fn write_header(&mut self, sink: &mut dyn Sink) -> Result<(), TranscodeError> {
        self.write(&frame::header(true), sink)
    }

    /// Writes bytes of the frame that aren't a segment's.
    fn write(&mut self, bytes: &[u8], sink: &mut dyn Sink) -> Result<(), TranscodeError> {
        if let Some(verifier) = &mut self.verifier {
            let position = self.segment.start();
            verifier
                .push(bytes, &self.window)
                .map_err(|fault| TranscodeError::Internal { position, fault })?;
        }
        self.summary.frame += bytes.len() as u64;
        sink.frame(bytes).map_err(|source| TranscodeError::Sink { source })
    }

    fn damaged(&self, damage: Damage) -> TranscodeError {
        TranscodeError::Gzip { offset: self.input.offset(), damage }
    }
}

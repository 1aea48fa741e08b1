//! The first stage: a gzip stream to blocks of plain bytes and deflate's matches.

use std::io;

use crc32fast::Hasher as Crc32;

use super::error::{Damage, TranscodeError};
use super::inflate::{Inflater, Progress};
use super::input::Input;
use super::limits::BLOCK_BYTES;
use super::member::HeaderParser;
use super::output::Output;
use super::tokens::{Token, Tokens};

/// Room for the last symbols of a block: three literals and a match of 258 bytes.
const LAST_SYMBOLS_BYTES: usize = 262;
/// Number of bytes of a member's trailer: checksum and length.
const TRAILER_BYTES: usize = 8;

/// Receives uncompressed bytes, or bytes of the frame.
pub(crate) type Receiver<'a> = dyn FnMut(&[u8]) -> io::Result<()> + 'a;

/// A block: at most 128 KiB of plain bytes, and deflate's matches in them.
#[derive(Clone, Copy)]
pub(crate) struct PlainBlock<'a> {
    pub(crate) plain: &'a [u8],
    pub(crate) tokens: &'a [Token],
    /// Index that the tokens have for the block's first byte.
    pub(crate) first: usize,
}

/// The part of a gzip stream that the next byte belongs to.
enum Part {
    Header(Box<HeaderParser>),
    Body,
    Trailer,
    /// Zeros between two members, or behind the last one.
    Padding,
}

/// Reads one gzip stream.
pub(crate) struct Front {
    max_uncompressed: u64,
    part: Part,
    input: Input,
    inflater: Inflater,
    output: Output,
    tokens: Tokens,
    /// The block in work is complete.
    is_block_complete: bool,
    /// Position of the member's first byte.
    member_start: u64,
    /// Position of the first byte that the receiver has not got.
    unsent: u64,
    /// Checksum of the member.
    crc: Crc32,
}

impl Front {
    pub(crate) fn new(max_uncompressed: u64) -> Self {
        Self {
            max_uncompressed,
            part: Part::Header(Box::new(HeaderParser::new())),
            input: Input::new(),
            inflater: Inflater::new(),
            output: Output::new(),
            tokens: Tokens::new(),
            is_block_complete: false,
            member_start: 0,
            unsent: 0,
            crc: Crc32::new(),
        }
    }

    /// Takes bytes from the start of `piece`, as many as fit.
    pub(crate) fn fill(&mut self, piece: &mut &[u8]) {
        self.input.fill(piece);
    }

    /// Number of gzip bytes used.
    pub(crate) fn offset(&self) -> u64 {
        self.input.offset()
    }

    /// Decodes the input until it is used up or a block is complete, and passes the plain bytes to `plain`. Returns
    /// whether a block is complete.
    pub(crate) fn run(&mut self, plain: &mut Receiver<'_>) -> Result<bool, TranscodeError> {
        if self.is_block_complete {
            self.is_block_complete = false;
            self.output.start_block();
            self.tokens.start_block();
        }
        loop {
            let has_more = match &mut self.part {
                Part::Header(parser) => {
                    let parsed = parser.parse(self.input.rest());
                    let (used, is_complete) = parsed.map_err(|damage| self.damaged(damage))?;
                    self.input.consume(used);
                    if is_complete {
                        self.start_member();
                    }
                    is_complete
                }
                Part::Body => self.inflate(plain)?,
                Part::Trailer => self.check_trailer()?,
                Part::Padding => self.skip_padding()?,
            };
            if !has_more || self.is_block_complete {
                return Ok(self.is_block_complete);
            }
        }
    }

    /// Ends the stream: no bytes follow those of the last [`fill`](Self::fill). [`run`](Self::run) then returns
    /// complete blocks until it returns false. Afterwards, [`finish`](Self::finish) must be called.
    pub(crate) fn set_final(&mut self) {
        self.input.set_final();
    }

    /// Fails if the stream ended inside a member. The last block has all the rest.
    pub(crate) fn finish(&mut self) -> Result<(), TranscodeError> {
        if matches!(self.part, Part::Padding) { Ok(()) } else { Err(self.damaged(Damage::Truncated)) }
    }

    /// The block in work.
    pub(crate) fn block(&mut self) -> PlainBlock<'_> {
        PlainBlock { plain: self.output.block(), tokens: self.tokens.block(), first: self.output.start() }
    }

    fn start_member(&mut self) {
        self.part = Part::Body;
        self.inflater.start();
        self.member_start = self.output.position();
        self.crc = Crc32::new();
    }

    /// Inflates up to the end of the block, of the deflate stream, or of the input. Returns whether there is more
    /// to do.
    fn inflate(&mut self, plain: &mut Receiver<'_>) -> Result<bool, TranscodeError> {
        let oldest = self.output.index(self.member_start);
        let limit = self.output.start() + BLOCK_BYTES - LAST_SYMBOLS_BYTES;
        let progress = self.inflater.run(&mut self.input, &mut self.output, &mut self.tokens, oldest, limit);
        match progress.map_err(|damage| self.damaged(damage))? {
            Progress::NeedInput => Ok(false),
            Progress::Full => {
                self.is_block_complete = true;
                self.send_plain(plain).map(|()| true)
            }
            Progress::Ended => {
                self.part = Part::Trailer;
                self.send_plain(plain).map(|()| true)
            }
        }
    }

    /// Passes new plain bytes to the checksum and the receiver.
    fn send_plain(&mut self, plain: &mut Receiver<'_>) -> Result<(), TranscodeError> {
        let max_uncompressed = self.max_uncompressed;
        if self.output.position() > max_uncompressed {
            return Err(TranscodeError::TooLarge { max_uncompressed });
        }
        let bytes = self.output.since(self.unsent);
        self.crc.update(bytes);
        if !bytes.is_empty() {
            plain(bytes).map_err(|source| TranscodeError::Sink { source })?;
        }
        self.unsent = self.output.position();
        Ok(())
    }

    /// Compares a member's checksum and length. Returns whether the trailer is complete.
    fn check_trailer(&mut self) -> Result<bool, TranscodeError> {
        let Some(trailer) = self.input.rest().first_chunk::<TRAILER_BYTES>() else { return Ok(false) };
        let [a, b, c, d, length @ ..] = *trailer;
        let plain = self.output.position() - self.member_start;
        if u32::from_le_bytes([a, b, c, d]) != self.crc.clone().finalize() {
            return Err(self.damaged(Damage::Checksum));
        }
        if u64::from(u32::from_le_bytes(length)) != plain & u64::from(u32::MAX) {
            return Err(self.damaged(Damage::Length));
        }
        self.input.consume(TRAILER_BYTES);
        self.part = Part::Padding;
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
                self.part = Part::Header(Box::new(HeaderParser::new()));
                Ok(true)
            }
            Some(_) => Err(TranscodeError::TrailingGarbage { offset: self.input.offset() }),
        }
    }

    fn damaged(&self, damage: Damage) -> TranscodeError {
        let is_truncated = damage == Damage::Truncated;
        let offset = if is_truncated { self.input.end_offset() } else { self.input.offset() };
        TranscodeError::Gzip { offset, damage }
    }
}

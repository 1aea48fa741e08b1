//! Both stages in one thread.

use std::io::{self, BufRead};

use super::back::Back;
use super::error::TranscodeError;
use super::front::Front;
use super::settings::Settings;

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
    /// Number of segments: parts of up to 3/8 MiB that zstd encodes in one call.
    pub segments: u64,
    /// Number of segments that were decoded again and compared.
    pub verified: u64,
}

/// Transcodes one gzip stream.
pub struct Transcoder {
    /// A call failed. The state has no meaning then.
    has_failed: bool,
    front: Front,
    back: Back,
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
        let (front, back) = (Front::new(settings.max_uncompressed), Back::new(settings.verify)?);
        Ok(Self { has_failed: false, front, back })
    }

    /// Transcodes the next bytes of the gzip stream. The results don't depend on how the stream is cut into
    /// pieces.
    pub fn push(&mut self, mut piece: &[u8], sink: &mut dyn Sink) -> Result<(), TranscodeError> {
        self.stop_on_error(|transcoder| {
            while !piece.is_empty() {
                transcoder.front.fill(&mut piece);
                transcoder.run(sink)?;
            }
            Ok(())
        })
    }

    /// Ends the gzip stream and the frame.
    pub fn finish(mut self, sink: &mut dyn Sink) -> Result<Summary, TranscodeError> {
        self.stop_on_error(|transcoder| {
            transcoder.front.set_final();
            transcoder.run(sink)?;
            transcoder.front.finish()?;
            transcoder.back.push(transcoder.front.block(), &mut |bytes| sink.frame(bytes))?;
            let gzip = transcoder.front.offset();
            let summary = transcoder.back.finish(&mut |bytes| sink.frame(bytes))?;
            Ok(Summary { gzip, ..summary })
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
        while self.front.run(&mut |bytes| sink.plain(bytes))? {
            self.back.push(self.front.block(), &mut |bytes| sink.frame(bytes))?;
        }
        Ok(())
    }
}

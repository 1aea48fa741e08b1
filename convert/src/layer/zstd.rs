//! Decode and encode: gzip or plain in, one zstd frame out. What is zstd already is only decoded.

use std::io::{BufRead, Write};

use zstd::stream::write::Encoder;
use zstd::zstd_safe::{self, CParameter};

use super::packing::{self, Packing};
use super::plain::Plain;
use super::{Converted, LayerConverter, LayerError, beside, frames};
use crate::settings::Level;

/// 8 MiB at every level: RFC 8878 asks every decoder for that and no more. zstd's own windows are smaller
/// up to level 16, and layers repeat themselves farther apart: at level 3 a Debian tree becomes 4.2 %
/// smaller than with 2 MiB, a `node_modules` 3.3 %, Python packages 1.3 %, for 6 to 8 % more work
/// (`make bench`).
const WINDOW_LOG: u32 = 23;
/// From this level on zstd's own window is larger than [`WINDOW_LOG`], and so are the tables in which it
/// looks for matches.
const FIRST_LARGE_LEVEL: i32 = 20;
/// The largest match tables that such a window can fill. As zstd doesn't know how long a stream will
/// be it would make them for its own window: level 22 took 650 MiB, to write 0.01 % less.
const TABLE_LOG_MAX: u32 = WINDOW_LOG + 1;

/// The converter that zstart uses: libzstd at one level.
#[derive(Clone, Copy, Debug)]
pub struct ZstdConverter {
    level: Level,
    /// Layers that are zstd already are encoded too.
    all: bool,
}

impl ZstdConverter {
    /// A converter for a level. Layers that are zstd already stay as they are.
    pub fn new(level: Level) -> Self {
        Self { level, all: false }
    }

    /// The same, but it encodes layers that are zstd already too.
    #[must_use]
    pub fn encoding_all(self) -> Self {
        Self { all: true, ..self }
    }

    /// The encoder of this level, as every converted layer goes through it.
    pub fn encoder<W: Write>(self, target: W) -> std::io::Result<Encoder<'static, W>> {
        let mut encoder = Encoder::new(target, self.level.get())?;
        // XXH64 of the content, so that a damaged layer is found by the decoder too.
        encoder.include_checksum(true)?;
        for parameter in bounds(self.level) {
            encoder.set_parameter(*parameter)?;
        }
        Ok(encoder)
    }
}

/// What gives a level the window that every decoder has, and keeps it to the memory that this takes.
pub(super) fn bounds(level: Level) -> &'static [CParameter] {
    const ALL: [CParameter; 1] = [CParameter::WindowLog(WINDOW_LOG)];
    const LARGE: [CParameter; 2] = [ALL[0], CParameter::ChainLog(TABLE_LOG_MAX)];
    // The only level whose hash table is larger than that, too.
    const HIGHEST: [CParameter; 3] = [LARGE[0], LARGE[1], CParameter::HashLog(TABLE_LOG_MAX)];
    match level.get() {
        Level::MAX => &HIGHEST,
        FIRST_LARGE_LEVEL.. => &LARGE,
        _ => &ALL,
    }
}

impl LayerConverter for ZstdConverter {
    /// libzstd's version belongs to the settings: another one may write other bytes.
    fn settings(&self) -> String {
        format!("zstart/2;zstd={};level={}", zstd_safe::version_string(), self.level.get())
    }

    fn convert(
        &self,
        source: &mut dyn BufRead,
        target: &mut (dyn Write + Send),
        most: u64,
    ) -> Result<Converted, LayerError> {
        let (packing, mut source) = packing::recognise(source)?;
        if packing == Packing::Zstd && !self.all {
            return Ok(Converted { diff_id: frames::diff_id(&mut source, most)?, anew: false });
        }
        let encoder = self.encoder(target).map_err(|source| LayerError::Write { source })?;
        let mut plain = Plain::at_most(most);
        beside::encode(encoder, |encode| {
            packing.decode(&mut source, |bytes| {
                plain.take(bytes)?;
                encode(bytes)
            })
        })?;
        Ok(Converted { diff_id: plain.diff_id(), anew: true })
    }
}

//! Decode and encode: gzip or plain in, one zstd frame out. What is zstd already is only decoded.

use std::io::{self, BufRead, Write};
use std::thread;

use zstd::stream::raw;
use zstd::stream::write::Encoder;
use zstd::stream::zio::Writer;
use zstd::zstd_safe::{self, CCtx, CParameter, ResetDirective};

use super::compression::{self, Compression};
use super::context_pool::ContextPool;
use super::diff_id::DiffIdHasher;
use super::encoder_thread::ByteSink;
use super::{Converted, LayerConverter, LayerError, LayerLimits, encoder_thread, jobs, zstd_frames};
use crate::Level;

/// 8 MiB at every level: RFC 8878 asks every decoder for that and no more. zstd's own windows are smaller
/// up to level 16, and layers repeat themselves farther apart: at level 3 a Debian tree becomes 4.2 %
/// smaller than with 2 MiB, a `node_modules` 3.3 %, Python packages 1.3 %, for 6 to 8 % more work
/// (`make bench`).
pub(super) const WINDOW_LOG: u32 = 23;
/// From this level on zstd's own window is larger than [`WINDOW_LOG`], and so are the tables in which it
/// looks for matches.
const LARGE_TABLES_MIN_LEVEL: i32 = 20;
/// The largest match tables that such a window can fill. As zstd doesn't know how long a stream will
/// be it would make them for its own window: level 22 took 650 MiB, to write 0.01 % less.
const TABLE_LOG_MAX: u32 = WINDOW_LOG + 1;

/// The converter that zstart uses: libzstd at one level.
pub struct ZstdConverter {
    level: Level,
    /// Layers that are zstd already are encoded too.
    reencodes_zstd: bool,
    /// There is a core for each thread of a large layer.
    hash_thread: bool,
    contexts: ContextPool,
}

impl ZstdConverter {
    /// A converter for a level. Layers that are zstd already stay as they are.
    pub fn new(level: Level) -> Self {
        let hash_thread =
            thread::available_parallelism().is_ok_and(|cores| cores.get() >= jobs::HASH_THREAD_MIN_CORES);
        Self { level, reencodes_zstd: false, hash_thread, contexts: ContextPool::default() }
    }

    /// The same, as it is on a machine that has so many cores, or has not.
    #[cfg(test)]
    pub(super) fn with_hash_thread(self, hash_thread: bool) -> Self {
        Self { hash_thread, ..self }
    }

    /// The same, but it encodes layers that are zstd already too.
    #[must_use]
    pub fn reencode_zstd(self) -> Self {
        Self { reencodes_zstd: true, ..self }
    }

    /// An encoder as every layer of so many compressed bytes has it.
    pub fn encoder<W: Write>(&self, compressed_size: u64, target: W) -> io::Result<Encoder<'static, W>> {
        self.configure(raw::Encoder::new(self.level.get())?, compressed_size, target)
    }

    fn configure<'a, W: Write>(
        &self,
        encoder: raw::Encoder<'a>,
        compressed_size: u64,
        target: W,
    ) -> io::Result<Encoder<'a, W>> {
        // A block and its header more than it takes at a time: what doesn't get smaller gets a little larger,
        // and must not pile up with the workers. With less they were seen to hold 20 MiB more, and once all
        // their room is taken, where the last job ends depends on when.
        let output = CCtx::out_size();
        let mut encoder = Encoder::with_writer(Writer::new_with_capacity(target, encoder, output));
        encoder.set_parameter(CParameter::CompressionLevel(self.level.get()))?;
        // XXH64 of the content, so that a damaged layer is found by the decoder too.
        encoder.include_checksum(true)?;
        for parameter in memory_parameters(self.level) {
            encoder.set_parameter(*parameter)?;
        }
        if jobs::uses_jobs(self.level, compressed_size) {
            for parameter in jobs::PARAMETERS {
                encoder.set_parameter(parameter)?;
            }
        }
        Ok(encoder)
    }
}

/// What gives a level the window that every decoder has, and keeps it to the memory that this takes.
pub(super) fn memory_parameters(level: Level) -> &'static [CParameter] {
    const WINDOW: [CParameter; 1] = [CParameter::WindowLog(WINDOW_LOG)];
    const WINDOW_AND_CHAIN: [CParameter; 2] = [WINDOW[0], CParameter::ChainLog(TABLE_LOG_MAX)];
    // The only level whose hash table is larger than that, too.
    const WINDOW_CHAIN_AND_HASH: [CParameter; 3] =
        [WINDOW_AND_CHAIN[0], WINDOW_AND_CHAIN[1], CParameter::HashLog(TABLE_LOG_MAX)];
    match level.get() {
        Level::MAX => &WINDOW_CHAIN_AND_HASH,
        LARGE_TABLES_MIN_LEVEL.. => &WINDOW_AND_CHAIN,
        _ => &WINDOW,
    }
}

impl LayerConverter for ZstdConverter {
    /// libzstd's version belongs to the settings: another one may write other bytes.
    fn settings(&self) -> String {
        format!("zstart/3;zstd={};level={}", zstd_safe::version_string(), self.level.get())
    }

    fn release_idle_memory(&self) {
        self.contexts.release_job_contexts();
    }

    fn convert(
        &self,
        source: &mut dyn BufRead,
        target: &mut (dyn Write + Send),
        limits: LayerLimits,
    ) -> Result<Converted, LayerError> {
        let LayerLimits { compressed_size, max_uncompressed } = limits;
        let (compression, mut source) = compression::detect(source)?;
        if compression == Compression::Zstd && !self.reencodes_zstd {
            self.release_idle_memory();
            return Ok(Converted {
                diff_id: zstd_frames::diff_id(&mut source, max_uncompressed)?,
                rewritten: false,
            });
        }
        let uses_jobs = jobs::uses_jobs(self.level, compressed_size);
        let mut hasher = DiffIdHasher::with_limit(max_uncompressed);
        self.contexts.with_context(uses_jobs, |context| {
            let write_error = |source| LayerError::Write { source };
            let reset = context.reset(ResetDirective::SessionAndParameters);
            reset.map_err(|code| write_error(io::Error::other(zstd_safe::get_error_name(code))))?;
            let context = raw::Encoder::with_context(context);
            let encoder = self.configure(context, compressed_size, target).map_err(write_error)?;
            let decode_and_hash = |sink: ByteSink<'_>| {
                compression.decode(&mut source, |bytes| {
                    hasher.update(bytes)?;
                    sink(bytes)
                })
            };
            match (uses_jobs, self.hash_thread) {
                (false, _) => encoder_thread::encode(encoder, decode_and_hash, |_| Ok(())),
                (true, false) => jobs::encode(encoder, decode_and_hash),
                (true, true) => {
                    let decode = |sink: ByteSink<'_>| compression.decode(&mut source, sink);
                    encoder_thread::encode(encoder, decode, |bytes| hasher.update(bytes))
                }
            }
        })?;
        Ok(Converted { diff_id: hasher.diff_id(), rewritten: true })
    }
}

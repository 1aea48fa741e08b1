//! Transcodes or encodes a gzip layer, and encodes a plain layer, as one zstd frame. A zstd layer is only decoded.

use std::io::{self, BufRead, Read as _, Write};
use std::sync::Arc;
use std::thread;

use zstart_core::Digest;
use zstart_transcode::Settings;
use zstd::stream::raw;
use zstd::stream::write::Encoder;
use zstd::stream::zio::Writer;
use zstd::zstd_safe::{self, CCtx, CParameter, ResetDirective};

use super::compression::{self, Compression};
use super::context_pool::ContextPool;
use super::diff_id::DiffIdHasher;
use super::encoder_thread::ByteSink;
use super::method::GzipLayers;
use super::replay::Replay;
use super::{
    Converted, LayerConverter, LayerError, LayerLimits, annotation, encoder_thread, jobs, transcoded,
    zstd_frames,
};
use crate::window::WINDOW_LOG;
use crate::{Level, Method, Verification};

/// Lowest level at which zstd's own window is larger than [`WINDOW_LOG`], and its match tables are larger,
/// too.
const LARGE_TABLES_MIN_LEVEL: i32 = 20;
/// Binary logarithm of the largest match tables that a window of [`WINDOW_LOG`] can fill. zstd doesn't know a
/// stream's length and would size the tables for its own window: level 22 needed 650 MiB, for 0.01 % smaller
/// output.
const TABLE_LOG_MAX: u32 = WINDOW_LOG + 1;

/// zstart's converter: libzstd at one level, and the transcoder. Reuse a converter for several layers, because it keeps
/// zstd's memory.
pub struct ZstdConverter {
    level: Level,
    method: Method,
    verification: Verification,
    /// Zstd layers are encoded, too.
    reencodes_zstd: bool,
    /// Large layers may be encoded in jobs.
    allows_jobs: bool,
    /// A large layer gets a separate hash thread.
    hash_thread: bool,
    contexts: ContextPool,
}

impl ZstdConverter {
    /// A converter that encodes at `level` and keeps zstd layers unchanged.
    pub fn new(level: Level) -> Self {
        let hash_thread =
            thread::available_parallelism().is_ok_and(|cores| cores.get() >= jobs::HASH_THREAD_MIN_CORES);
        Self {
            level,
            method: Method::Encode,
            verification: Verification::default(),
            reencodes_zstd: false,
            allows_jobs: true,
            hash_thread,
            contexts: ContextPool::default(),
        }
    }

    /// Sets the method for gzip layers.
    #[must_use]
    pub fn with_method(self, method: Method) -> Self {
        Self { method, ..self }
    }

    /// Sets the part of transcoded layers that is decoded again.
    #[must_use]
    pub fn with_verification(self, verification: Verification) -> Self {
        Self { verification, ..self }
    }

    /// Sets whether a large layer gets a separate hash thread, regardless of the machine's cores.
    #[cfg(test)]
    pub(super) fn with_hash_thread(self, hash_thread: bool) -> Self {
        Self { hash_thread, ..self }
    }

    /// Makes the converter encode zstd layers, too.
    #[must_use]
    pub fn reencode_zstd(self) -> Self {
        Self { reencodes_zstd: true, ..self }
    }

    /// The encoder of a layer of `compressed_size` bytes, as [`convert`](LayerConverter::convert) configures
    /// it.
    pub fn encoder<W: Write>(&self, compressed_size: u64, target: W) -> io::Result<Encoder<'static, W>> {
        let uses_jobs = self.uses_jobs(compressed_size);
        self.configure(raw::Encoder::new(self.level.get())?, uses_jobs, target)
    }

    fn uses_jobs(&self, compressed_size: u64) -> bool {
        self.allows_jobs && jobs::uses_jobs(self.level, compressed_size)
    }

    fn configure<'a, W: Write>(
        &self,
        encoder: raw::Encoder<'a>,
        uses_jobs: bool,
        target: W,
    ) -> io::Result<Encoder<'a, W>> {
        // The output buffer exceeds zstd's input chunk by a block and its header, because incompressible data
        // grows a little and must not accumulate in the workers. With a smaller buffer, the workers held
        // 20 MiB more. Once the workers' buffers are full, the end of the last job depends on timing.
        let output = CCtx::out_size();
        let mut encoder = Encoder::with_writer(Writer::new_with_capacity(target, encoder, output));
        encoder.set_parameter(CParameter::CompressionLevel(self.level.get()))?;
        // XXH64 of the content, so that the decoder also detects a damaged layer.
        encoder.include_checksum(true)?;
        for parameter in memory_parameters(self.level) {
            encoder.set_parameter(*parameter)?;
        }
        if uses_jobs {
            for parameter in jobs::PARAMETERS {
                encoder.set_parameter(parameter)?;
            }
        }
        Ok(encoder)
    }
}

/// Parameters that set the window that every decoder supports, and limit zstd's memory to this window's need.
pub(super) fn memory_parameters(level: Level) -> &'static [CParameter] {
    const WINDOW: [CParameter; 1] = [CParameter::WindowLog(WINDOW_LOG)];
    const WINDOW_AND_CHAIN: [CParameter; 2] = [WINDOW[0], CParameter::ChainLog(TABLE_LOG_MAX)];
    // Only the highest level also has a hash table above this limit.
    const WINDOW_CHAIN_AND_HASH: [CParameter; 3] =
        [WINDOW_AND_CHAIN[0], WINDOW_AND_CHAIN[1], CParameter::HashLog(TABLE_LOG_MAX)];
    match level.get() {
        Level::MAX => &WINDOW_CHAIN_AND_HASH,
        LARGE_TABLES_MIN_LEVEL.. => &WINDOW_AND_CHAIN,
        _ => &WINDOW,
    }
}

impl ZstdConverter {
    /// Encodes a layer of this compression. Returns the digest of its uncompressed bytes.
    fn encode(
        &self,
        (compression, source): (Compression, &mut dyn BufRead),
        target: &mut (dyn Write + Send),
        limits: LayerLimits,
        uses_jobs: bool,
    ) -> Result<Digest, LayerError> {
        let mut hasher = DiffIdHasher::with_limit(limits.max_uncompressed);
        self.contexts.with_context(uses_jobs, |context| {
            let write_error = |source| LayerError::Write { source };
            let reset = context.reset(ResetDirective::SessionAndParameters);
            reset.map_err(|code| write_error(io::Error::other(zstd_safe::get_error_name(code))))?;
            let context = raw::Encoder::with_context(context);
            let encoder = self.configure(context, uses_jobs, target).map_err(write_error)?;
            let decode_and_hash = |sink: ByteSink<'_>| {
                compression.decode(source, |bytes| {
                    hasher.update(bytes)?;
                    sink(bytes)
                })
            };
            match (uses_jobs, self.hash_thread) {
                (false, _) => encoder_thread::encode(encoder, decode_and_hash, |_| Ok(())),
                (true, false) => jobs::encode(encoder, decode_and_hash),
                (true, true) => {
                    let decode = |sink: ByteSink<'_>| compression.decode(source, sink);
                    encoder_thread::encode(encoder, decode, |bytes| hasher.update(bytes))
                }
            }
        })?;
        Ok(hasher.diff_id())
    }

    /// Transcodes a gzip layer, or encodes it if its compressor hardly searched.
    fn transcode(
        &self,
        source: &mut dyn BufRead,
        target: &mut (dyn Write + Send),
        limits: LayerLimits,
        may_decline: bool,
    ) -> Result<Digest, LayerError> {
        let mut start = Vec::new();
        if may_decline {
            // No more memory than that, as growth would take.
            start.reserve_exact(transcoded::START_BYTES);
            let read = source.take(transcoded::START_BYTES as u64).read_to_end(&mut start);
            read.map_err(|source| LayerError::Read { source })?;
        }
        let is_declined = may_decline && transcoded::is_declined(&start, limits.compressed_size);
        let mut whole = Replay::new(start, source);
        if is_declined {
            // Not in jobs: the layer's permits are for the memory of a transcoding.
            return self.encode((Compression::Gzip, &mut whole), target, limits, false);
        }
        let LayerLimits { max_uncompressed, .. } = limits;
        let settings = Settings { max_uncompressed, verify: self.verification.into() };
        transcoded::transcode(&mut whole, target, settings)
    }
}

impl LayerConverter for ZstdConverter {
    fn settings(&self) -> String {
        annotation::settings(self.level, self.method)
    }

    fn without_transcoder(&self) -> Option<Arc<dyn LayerConverter>> {
        if self.method.gzip_layers(self.level) == GzipLayers::Encode {
            return None;
        }
        // As for a layer that is declined, the permits are for the memory of a transcoding.
        let encoder = Self { contexts: ContextPool::default(), allows_jobs: false, ..*self };
        Some(Arc::new(encoder.with_method(Method::Encode)))
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
        let treatment = self.method.gzip_layers(self.level);
        let diff_id =
            if let (Compression::Gzip, GzipLayers::Transcode { may_decline }) = (compression, treatment) {
                self.transcode(&mut source, target, limits, may_decline)?
            } else {
                let uses_jobs = self.uses_jobs(compressed_size);
                self.encode((compression, &mut source), target, limits, uses_jobs)?
            };
        Ok(Converted { diff_id, rewritten: true })
    }
}

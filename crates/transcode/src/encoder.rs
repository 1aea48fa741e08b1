//! zstd's entropy coder. All calls of its C interface that `zstd-safe` doesn't offer.

use std::ffi::CStr;
use std::ptr::NonNull;

use zstd_sys::{
    ZSTD_CCtx, ZSTD_CCtx_setParameter, ZSTD_Sequence, ZSTD_cParameter, ZSTD_compressBound,
    ZSTD_compressSequences, ZSTD_createCCtx, ZSTD_freeCCtx, ZSTD_getErrorName, ZSTD_isError,
};

use super::error::Fault;
use super::limits::WINDOW_LOG;
use super::segment::{self, CheckedSegment};

/// Parameters, with the names that zstd.h 1.5.7 gives to experimental ones.
const PARAMETERS: [(ZSTD_cParameter, i32); 12] = [
    (ZSTD_cParameter::ZSTD_c_compressionLevel, 1),
    // blockDelimiters: the sequences say where a block ends.
    (ZSTD_cParameter::ZSTD_c_experimentalParam11, 1),
    // validateSequences: zstd takes a segment for a frame and would refuse offsets that reach behind its start.
    // `segment::check` is stricter: it also compares the bytes.
    (ZSTD_cParameter::ZSTD_c_experimentalParam12, 0),
    // repcodeResolution: write an offset used before in fewer bits.
    (ZSTD_cParameter::ZSTD_c_experimentalParam19, 1),
    // stableInBuffer and stableOutBuffer: no buffers of zstd's own.
    (ZSTD_cParameter::ZSTD_c_experimentalParam9, 1),
    (ZSTD_cParameter::ZSTD_c_experimentalParam10, 1),
    (ZSTD_cParameter::ZSTD_c_minMatch, 3),
    (ZSTD_cParameter::ZSTD_c_windowLog, WINDOW_LOG.cast_signed()),
    // zstd searches nothing, so that its match tables can be small.
    (ZSTD_cParameter::ZSTD_c_hashLog, 6),
    (ZSTD_cParameter::ZSTD_c_chainLog, 6),
    (ZSTD_cParameter::ZSTD_c_contentSizeFlag, 0),
    (ZSTD_cParameter::ZSTD_c_checksumFlag, 0),
];

/// A context of zstd, and the buffer for its output.
pub(crate) struct Encoder {
    context: NonNull<ZSTD_CCtx>,
    output: Vec<u8>,
}

// SAFETY: a context has no ties to the thread that created it, and `encode` needs an exclusive reference.
#[expect(unsafe_code, reason = "Rust never sends a pointer to another thread by itself")]
mod send {
    // SAFETY: a context has no ties to the thread that created it, and `encode` needs an exclusive reference.
    unsafe impl Send for super::Encoder {}
}

impl Encoder {
    #[expect(unsafe_code, reason = "zstd-safe offers no access to experimental parameters")]
    pub(crate) fn new() -> Result<Self, Fault> {
        // SAFETY: the function has no preconditions.
        let context = unsafe { ZSTD_createCCtx() };
        let context = NonNull::new(context).ok_or(Fault::Encode { message: "out of memory" })?;
        // SAFETY: the function has no preconditions.
        let capacity = unsafe { ZSTD_compressBound(segment::MAX_BYTES) };
        let encoder = Self { context, output: vec![0; capacity] };
        for (parameter, value) in PARAMETERS {
            // SAFETY: `context` is valid until `drop`.
            check(unsafe { ZSTD_CCtx_setParameter(encoder.context.as_ptr(), parameter, value) })?;
        }
        Ok(encoder)
    }

    /// Encodes a segment as a frame.
    #[expect(unsafe_code, reason = "zstd-safe doesn't offer ZSTD_compressSequences")]
    pub(crate) fn encode(&mut self, segment: CheckedSegment<'_>) -> Result<&mut [u8], Fault> {
        let (sequences, plain) = (segment.sequences(), segment.plain());
        // SAFETY: pointers and lengths belong to slices that outlive the call. A `Sequence` has the layout of
        // zstd's type. zstd reads `plain` and writes up to the given capacity. A `CheckedSegment` exists only for
        // sequences whose lengths add up to the block that a delimiter ends, and whose matches have at least 3 bytes
        // and offsets within the window, which is all that zstd's encoder needs without its own validation.
        let written = check(unsafe {
            ZSTD_compressSequences(
                self.context.as_ptr(),
                self.output.as_mut_ptr().cast(),
                self.output.len(),
                sequences.as_ptr().cast::<ZSTD_Sequence>(),
                sequences.len(),
                plain.as_ptr().cast(),
                plain.len(),
            )
        })?;
        self.output.get_mut(..written).ok_or(Fault::Frame)
    }
}

impl Drop for Encoder {
    #[expect(unsafe_code, reason = "zstd's context is freed by hand")]
    fn drop(&mut self) {
        // SAFETY: `context` is valid, and no pointer to it is used later.
        unsafe { ZSTD_freeCCtx(self.context.as_ptr()) };
    }
}

/// The value of a result of zstd's, or its error.
#[expect(unsafe_code, reason = "zstd-safe doesn't offer the name of an error of a function that it lacks")]
fn check(result: usize) -> Result<usize, Fault> {
    // SAFETY: the functions take any number. The name is a string literal in libzstd.
    unsafe {
        if ZSTD_isError(result) == 0 {
            return Ok(result);
        }
        let message = CStr::from_ptr(ZSTD_getErrorName(result)).to_str().unwrap_or("unknown error");
        Err(Fault::Encode { message })
    }
}

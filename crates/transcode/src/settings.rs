//! Settings of a transcoding.

/// Settings of a transcoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Maximum number of uncompressed bytes. Default: none.
    pub max_uncompressed: u64,
    /// Part of the frame that is decoded again. Default: the first and the last segment, and one in 16.
    pub verify: Verify,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_uncompressed: u64::MAX, verify: Verify::default() }
    }
}

/// The segments that libzstd decodes again. The transcoder compares the result with the uncompressed bytes.
/// Every sequence is compared with the uncompressed bytes before zstd encodes it, in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// No segment.
    Off,
    /// The first segment, the last one, and one in `one_in`.
    Sampled {
        /// Number of segments of which one is decoded. 0 means that only the first and the last one are.
        one_in: u64,
    },
    /// The whole frame, by a decoder that needs 9 MiB more memory.
    Full,
}

impl Default for Verify {
    fn default() -> Self {
        Self::Sampled { one_in: 16 }
    }
}

impl Verify {
    /// Returns whether segment `number`, counted from 0, is decoded again.
    pub(crate) fn includes(self, number: u64, is_last: bool) -> bool {
        match self {
            Self::Off => false,
            Self::Sampled { one_in } => is_last || number.checked_rem(one_in).unwrap_or(number) == 0,
            Self::Full => true,
        }
    }
}

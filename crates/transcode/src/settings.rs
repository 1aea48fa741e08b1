//! Settings of a transcoding.

/// Settings of a transcoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Maximum number of uncompressed bytes. Default: none.
    pub max_uncompressed: u64,
    /// Part of the frame that is decoded again. Default: samples.
    pub verify: Verify,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_uncompressed: u64::MAX, verify: Verify::default() }
    }
}

/// The segments that libzstd decodes again. The transcoder compares the result with the uncompressed bytes.
/// Every sequence is compared with the uncompressed bytes before zstd encodes it, in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// No segment.
    Off,
    /// The first segment, the last one, and one in about 12 behind the first 8 MiB.
    #[default]
    Sampled,
    /// Each segment by itself. Takes more time than [`Full`](Self::Full), and finds a segment that relies on what a
    /// decoder remembers of the one before.
    Each,
    /// The whole frame, by a decoder that needs 9 MiB more memory.
    Full,
}

impl Verify {
    /// Returns whether a segment is decoded again. Its decoder needs the window in one piece: to turn it takes a multiple
    /// of the time to decode the segment.
    pub(crate) fn includes(self, is_first_or_last: bool, has_window_in_one_piece: bool) -> bool {
        match self {
            Self::Off => false,
            Self::Sampled => is_first_or_last || has_window_in_one_piece,
            Self::Each | Self::Full => true,
        }
    }
}

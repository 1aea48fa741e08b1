//! Options and results of a measurement.

use zstart_codec::Level;

use super::Node;

/// Options of a measurement.
#[derive(Clone, Debug)]
pub struct TuneOptions {
    /// Levels to measure.
    pub levels: Vec<Level>,
    /// Size of the sample, in uncompressed bytes that are kept in memory; at least
    /// [`MIN_SAMPLE_BYTES`](crate::MIN_SAMPLE_BYTES).
    pub sample_bytes: u64,
    /// Bandwidths to estimate pulls for, in bits per second.
    pub bandwidths: Vec<u64>,
    /// Node that pulls the image.
    pub node: Node,
}

/// An estimated number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// Half the width of the 95 % confidence interval. Zero if the number is exact, `None` if the sample was
    /// too small for an interval.
    pub margin: Option<f64>,
}

impl Estimate {
    /// The number, rounded to whole bytes.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "there are fewer than 2^53")]
    pub fn rounded(self) -> u64 {
        self.value.round() as u64
    }
}

/// Result of a measurement.
#[derive(Clone, Debug)]
pub struct TuneReport {
    /// Size of all layers uncompressed, in bytes.
    pub uncompressed_bytes: u64,
    /// Number of layers that are already zstd. Every level keeps them.
    pub layers_kept: usize,
    /// The source image.
    pub baseline: Baseline,
    /// Estimates of each level, in order; empty if no layer needs encoding.
    pub levels: Vec<LevelEstimate>,
}

/// Measurement of the source image.
#[derive(Clone, Debug)]
pub struct Baseline {
    /// Size of the compressed layers, in bytes.
    pub bytes: u64,
    /// The node's decoding speed in uncompressed bytes per second; `None` if the image has none.
    pub decode_speed: Option<f64>,
    /// Seconds to pull and unpack the image, for each bandwidth.
    pub seconds: Vec<f64>,
}

/// Estimate of the image at one level.
#[derive(Clone, Debug)]
pub struct LevelEstimate {
    /// The level.
    pub level: Level,
    /// Number of pieces behind the speeds, and behind the size if that isn't exact.
    pub pieces: usize,
    /// Size of the compressed layers, in bytes.
    pub bytes: Estimate,
    /// Encoding speed of one thread, in uncompressed bytes per second.
    pub encode_speed: Option<f64>,
    /// The node's decoding speed, in uncompressed bytes per second; `None` if the image has none.
    pub decode_speed: Option<Estimate>,
    /// Pull times, for each bandwidth.
    pub pulls: Vec<PullEstimate>,
}

/// Estimate of a pull of the image at one level, over one bandwidth.
#[derive(Clone, Copy, Debug)]
pub struct PullEstimate {
    /// Seconds to pull and unpack the image.
    pub seconds: Estimate,
    /// Comparison with the other levels.
    pub rank: Rank,
}

/// Comparison of a level's pull time with those of the other levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// The shortest time.
    Best,
    /// Longer than the best time, but not significantly.
    AsGood,
    /// Significantly longer than the best time.
    Slower,
}

//! JSON report of `zstart tune --json`.

use serde::Serialize;
use zstart_convert::plan::ManifestPlan;
use zstart_core::{Digest, Platform};
use zstart_tune::{Estimate, LevelEstimate, Rank, TuneOptions, TuneReport};

use crate::image_ref::ImageRef;

/// Measured image. Speeds are in bytes of the unpacked image per second. A margin is half the width of a
/// figure's 95 % confidence interval: zero if the figure is exact, absent if the sample was too small for
/// an interval.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JsonTuneReport {
    image: String,
    /// Digest of the measured manifest.
    digest: Digest,
    platform: Platform,
    layers: usize,
    /// Node that the speeds and times are estimated for.
    node: &'static str,
    /// Number of layers that are already zstd.
    layers_kept: usize,
    plain_bytes: u64,
    now: BaselineReport,
    levels: Vec<LevelReport>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BaselineReport {
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    decode_bytes_per_second: Option<f64>,
    times: Vec<BaselineTime>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BaselineTime {
    bits_per_second: u64,
    seconds: f64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LevelReport {
    level: i32,
    /// Number of pieces behind the figures that are estimates.
    pieces: usize,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_margin: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encode_bytes_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decode_bytes_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decode_margin: Option<f64>,
    times: Vec<LevelTime>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LevelTime {
    bits_per_second: u64,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    margin: Option<f64>,
    /// `best`, `asGood` (not significantly slower), or `behind`.
    rank: &'static str,
}

impl JsonTuneReport {
    pub(super) fn new(
        image_ref: &ImageRef,
        image: &ManifestPlan,
        options: &TuneOptions,
        tune_report: &TuneReport,
    ) -> Self {
        let TuneReport { uncompressed_bytes, layers_kept, baseline, levels } = tune_report;
        let times = options.bandwidths.iter().zip(&baseline.seconds);
        Self {
            image: image_ref.to_string(),
            digest: image.raw.digest.clone(),
            platform: image.platform.clone(),
            layers: image.manifest.layers.len(),
            node: options.node.name(),
            layers_kept: *layers_kept,
            plain_bytes: *uncompressed_bytes,
            now: BaselineReport {
                bytes: baseline.bytes,
                decode_bytes_per_second: baseline.decode_speed,
                times: times
                    .map(|(link, seconds)| BaselineTime { bits_per_second: *link, seconds: *seconds })
                    .collect(),
            },
            levels: levels.iter().map(|level| LevelReport::new(level, &options.bandwidths)).collect(),
        }
    }
}

impl LevelReport {
    fn new(estimate: &LevelEstimate, links: &[u64]) -> Self {
        let LevelEstimate { level, pieces, bytes, encode_speed, decode_speed, pulls } = estimate;
        let times = links.iter().zip(pulls).map(|(link, pull)| {
            let Estimate { value, margin } = pull.seconds;
            let rank = match pull.rank {
                Rank::Best => "best",
                Rank::AsGood => "asGood",
                Rank::Slower => "behind",
            };
            LevelTime { bits_per_second: *link, seconds: value, margin, rank }
        });
        Self {
            level: level.get(),
            pieces: *pieces,
            bytes: bytes.rounded(),
            bytes_margin: bytes.margin,
            encode_bytes_per_second: *encode_speed,
            decode_bytes_per_second: decode_speed.map(|speed| speed.value),
            decode_margin: decode_speed.and_then(|speed| speed.margin),
            times: times.collect(),
        }
    }
}

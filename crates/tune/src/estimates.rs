//! Estimates for the image from measurements on pieces (ratio estimation).
//!
//! Each estimate is a number that is known for the whole image, times a ratio on the pieces. The size at
//! levels 4 to 9 follows from the exact size at level 3. The size at slower levels, which have fewer pieces,
//! follows from the size at level 9. Levels compress a piece much alike, so the ratio of two levels varies
//! little between pieces; the pieces' own sizes vary a lot.

use std::collections::BTreeMap;

use super::benchmark::PieceMeasurement;
use super::jackknife::jackknife_margin;
use super::pull::{LayerPull, pull_seconds};
use super::sample::PieceKey;
use super::scan::LayerMeasurement;
use super::{Baseline, Estimate, FIRST_SLOW_LEVEL, LevelEstimate, PullEstimate, Rank, TuneReport};
use zstart_codec::Level;

/// A layer of the image.
#[derive(Clone, Debug)]
pub(super) struct MeasuredLayer {
    pub(super) measurement: LayerMeasurement,
    /// Whether a lower layer has the same digest: then a node doesn't download this one.
    pub(super) repeated: bool,
}

/// Measurement of one level.
#[derive(Clone, Debug, Default)]
pub(super) struct LevelMeasurement {
    /// Size of all encoded layers, if the level encoded the whole image.
    pub(super) exact: Option<f64>,
    pub(super) pieces: BTreeMap<PieceKey, PieceMeasurement>,
}

/// All measurements of an image.
#[derive(Clone, Debug)]
pub(super) struct Measurements {
    pub(super) layers: Vec<MeasuredLayer>,
    /// Levels that encoded every layer. A layer's `sizes` has one size for each.
    pub(super) exact_levels: Vec<Level>,
    pub(super) levels: BTreeMap<Level, LevelMeasurement>,
}

impl Measurements {
    /// Base level that the estimates of a level follow from.
    fn base(level: Level) -> Option<Level> {
        if level.get() >= FIRST_SLOW_LEVEL {
            Some(Level::SLOW_BASE)
        } else if level > Level::FAST_BASE {
            Some(Level::FAST_BASE)
        } else {
            None
        }
    }

    /// Size of all encoded layers, in bytes. The estimate leaves out the piece `without`, if there is one.
    fn encoded(&self, level: Level, without: Option<PieceKey>) -> Option<f64> {
        let measured = self.levels.get(&level)?;
        if measured.exact.is_some() {
            return measured.exact;
        }
        let base = Self::base(level)?;
        let ratio = self.ratio(
            level,
            without,
            |own| own.size,
            |key| Some(self.levels.get(&base)?.pieces.get(key)?.size),
        )?;
        Some(self.encoded(base, without)? * ratio)
    }

    /// Seconds to decode one uncompressed byte. The estimate leaves out the piece `without`, if there is one.
    fn decoding(&self, level: Level, without: Option<PieceKey>) -> Option<f64> {
        if level.get() < FIRST_SLOW_LEVEL {
            let pieces = &self.levels.get(&level)?.pieces;
            return self.ratio(
                level,
                without,
                |own| own.decode,
                |key| Some(pieces.get(key)?.uncompressed_size),
            );
        }
        let base = &self.levels.get(&Level::SLOW_BASE)?.pieces;
        let ratio = self.ratio(level, without, |own| own.decode, |key| Some(base.get(key)?.decode))?;
        Some(self.decoding(Level::SLOW_BASE, without)? * ratio)
    }

    /// Ratio of two sums over a level's pieces.
    fn ratio(
        &self,
        level: Level,
        without: Option<PieceKey>,
        own: impl Fn(&PieceMeasurement) -> f64,
        other: impl Fn(&PieceKey) -> Option<f64>,
    ) -> Option<f64> {
        let (mut numerator, mut denominator) = (0.0, 0.0);
        for (key, piece) in &self.levels.get(&level)?.pieces {
            if Some(*key) != without {
                numerator += own(piece);
                denominator += other(key)?;
            }
        }
        (denominator > 0.0).then(|| numerator / denominator)
    }

    /// Size of the image's compressed layers, in bytes.
    pub(super) fn bytes(&self, level: Level) -> Estimate {
        let kept: f64 = self
            .layers
            .iter()
            .filter(|layer| layer.measurement.is_kept())
            .map(|layer| float(layer.measurement.compressed_size))
            .sum();
        let margin = match self.levels.get(&level) {
            Some(LevelMeasurement { exact: Some(_), .. }) => Some(0.0),
            _ => self.margin(level, |measured, without| measured.encoded(level, without)),
        };
        Estimate { value: kept + self.encoded(level, None).unwrap_or_default(), margin }
    }

    /// Decoding speed, in uncompressed bytes per second.
    pub(super) fn decode_speed(&self, level: Level) -> Option<Estimate> {
        let speed = |measured: &Self, without| Some(1.0 / measured.decoding(level, without)?);
        let value = speed(self, None).filter(|speed| speed.is_finite())?;
        Some(Estimate { value, margin: self.margin(level, speed) })
    }

    /// Encoding speed, in uncompressed bytes per second.
    pub(super) fn encode_speed(&self, level: Level) -> Option<f64> {
        let pieces = &self.levels.get(&level)?.pieces;
        let took =
            self.ratio(level, None, |own| own.encode, |key| Some(pieces.get(key)?.uncompressed_size))?;
        Some(1.0 / took).filter(|speed| speed.is_finite())
    }

    /// Seconds to pull and unpack the source image. `link` is in bits per second.
    pub(super) fn baseline_seconds(&self, link: f64) -> f64 {
        pull_seconds(
            self.layers.iter().map(|layer| {
                layer.pull(float(layer.measurement.compressed_size), layer.measurement.unpack.as_secs_f64())
            }),
            link,
        )
    }

    fn seconds(&self, level: Level, link: f64, without: Option<PieceKey>) -> Option<f64> {
        let fast = self.exact_levels.iter().position(|level| *level == Level::FAST_BASE)?;
        let at_base =
            |layer: &MeasuredLayer| layer.measurement.sizes.get(fast).map_or(0.0, |size| float(*size));
        let growth = self.encoded(level, without)? / self.layers.iter().map(at_base).sum::<f64>();
        // An empty image takes no time.
        let decoding = self.decoding(level, without).unwrap_or_default();
        let pulls = self.layers.iter().map(|layer| {
            if layer.measurement.is_kept() {
                layer.pull(float(layer.measurement.compressed_size), layer.measurement.unpack.as_secs_f64())
            } else {
                layer.pull(at_base(layer) * growth, float(layer.measurement.uncompressed_size) * decoding)
            }
        });
        Some(pull_seconds(pulls, link))
    }

    /// Seconds to pull and unpack the image at a level. `link` is in bits per second.
    pub(super) fn time(&self, level: Level, link: f64) -> Option<Estimate> {
        let value = self.seconds(level, link, None)?;
        Some(Estimate {
            value,
            margin: self.margin(level, |measured, without| measured.seconds(level, link, without)),
        })
    }

    /// Difference of two levels' pull times, in seconds. The difference has a smaller margin than the times,
    /// because both levels are measured on the same pieces.
    pub(super) fn difference(&self, level: Level, other: Level, link: f64) -> Option<Estimate> {
        let difference = |measured: &Self, without| {
            Some(measured.seconds(level, link, without)? - measured.seconds(other, link, without)?)
        };
        let fewer = if self.pieces(level) < self.pieces(other) { level } else { other };
        Some(Estimate { value: difference(self, None)?, margin: self.margin(fewer, difference) })
    }

    /// Number of pieces that a level was measured on.
    pub(super) fn pieces(&self, level: Level) -> usize {
        self.levels.get(&level).map_or(0, |measured| measured.pieces.len())
    }

    fn margin(&self, level: Level, estimate: impl Fn(&Self, Option<PieceKey>) -> Option<f64>) -> Option<f64> {
        // The fast base level has the pieces of every level.
        let keys = self.levels.get(&Level::FAST_BASE)?.pieces.keys();
        jackknife_margin(
            estimate(self, None)?,
            keys.map(|key| estimate(self, Some(*key))),
            self.pieces(level),
        )
    }
}

impl MeasuredLayer {
    fn pull(&self, bytes: f64, unpack_seconds: f64) -> LayerPull {
        LayerPull { bytes: if self.repeated { 0.0 } else { bytes }, unpack_seconds }
    }
}

impl Measurements {
    /// Report for these levels and bandwidths.
    pub(super) fn report(&self, levels: &[Level], links: &[u64]) -> TuneReport {
        let unpack: f64 = self.layers.iter().map(|layer| layer.measurement.unpack.as_secs_f64()).sum();
        let uncompressed_bytes = self.layers.iter().map(|layer| layer.measurement.uncompressed_size).sum();
        let speed = float(uncompressed_bytes) / unpack;
        let baseline = Baseline {
            bytes: self.layers.iter().map(|layer| layer.measurement.compressed_size).sum(),
            decode_speed: Some(speed).filter(|speed| speed.is_finite() && *speed > 0.0),
            seconds: links.iter().map(|link| self.baseline_seconds(float(*link))).collect(),
        };
        let pulls: Vec<Vec<PullEstimate>> =
            links.iter().map(|link| self.ranked(levels, float(*link))).collect();
        let levels = levels.iter().enumerate().map(|(index, level)| LevelEstimate {
            level: *level,
            pieces: self.pieces(*level),
            bytes: self.bytes(*level),
            encode_speed: self.encode_speed(*level),
            decode_speed: self.decode_speed(*level),
            pulls: pulls.iter().filter_map(|link| link.get(index).copied()).collect(),
        });
        let layers_kept = self.layers.iter().filter(|layer| layer.measurement.is_kept()).count();
        TuneReport { uncompressed_bytes, layers_kept, baseline, levels: levels.collect() }
    }

    /// Pull estimates of all levels, over one link.
    fn ranked(&self, levels: &[Level], link: f64) -> Vec<PullEstimate> {
        let times: Vec<Estimate> = levels.iter().filter_map(|level| self.time(*level, link)).collect();
        let shortest =
            times.iter().zip(levels).min_by(|(one, _), (other, _)| one.value.total_cmp(&other.value));
        let Some((_, best)) = shortest else { return Vec::new() };
        let pulls = times.iter().zip(levels).map(|(seconds, level)| {
            let rank = match self.difference(*level, *best, link) {
                _ if level == best => Rank::Best,
                Some(Estimate { value, margin: Some(margin) }) if value > margin => Rank::Slower,
                _ => Rank::AsGood,
            };
            PullEstimate { seconds: *seconds, rank }
        });
        pulls.collect()
    }
}

/// Number of bytes as a float.
#[expect(clippy::cast_precision_loss, reason = "an image has less than 2^53 bytes")]
pub(super) fn float(bytes: u64) -> f64 {
    bytes as f64
}

//! From what was measured on pieces to figures for the image.
//!
//! Each figure is what is known of everything, times the ratio of the two on the pieces: the size at
//! levels 4 to 9 follows from the exact one at level 3, and the size at slower levels, for which there are
//! fewer pieces, from the one at level 9. Levels are much alike in what they make of a piece; pieces
//! aren't alike at all.

use std::collections::BTreeMap;

use super::benchmark::PieceMeasurement;
use super::jackknife::jackknife_margin;
use super::pull::{LayerPull, pull_seconds};
use super::sample::PieceKey;
use super::scan::LayerMeasurement;
use super::{Baseline, Estimate, FIRST_SLOW_LEVEL, LevelEstimate, PullEstimate, Rank, TuneReport};
use zstart_codec::Level;

/// A layer's part in the image.
#[derive(Clone, Debug)]
pub(super) struct MeasuredLayer {
    pub(super) facts: LayerMeasurement,
    /// It is a layer further below once more, and not pulled again.
    pub(super) repeated: bool,
}

/// One level, measured.
#[derive(Clone, Debug, Default)]
pub(super) struct LevelMeasurement {
    /// The size of all that was encoded, where that is everything.
    pub(super) exact: Option<f64>,
    pub(super) pieces: BTreeMap<PieceKey, PieceMeasurement>,
}

/// All that was measured.
#[derive(Clone, Debug)]
pub(super) struct Measurements {
    pub(super) layers: Vec<MeasuredLayer>,
    /// The levels that each layer has its size at.
    pub(super) exact_levels: Vec<Level>,
    pub(super) levels: BTreeMap<Level, LevelMeasurement>,
}

impl Measurements {
    /// The level whose figures another one's follow from.
    fn base(level: Level) -> Option<Level> {
        if level.get() >= FIRST_SLOW_LEVEL {
            Some(Level::SLOW_BASE)
        } else if level > Level::FAST_BASE {
            Some(Level::FAST_BASE)
        } else {
            None
        }
    }

    /// Bytes of all layers that are encoded, if the pieces were all but one.
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

    /// Seconds to decode a byte, likewise.
    fn decoding(&self, level: Level, without: Option<PieceKey>) -> Option<f64> {
        if level.get() < FIRST_SLOW_LEVEL {
            let pieces = &self.levels.get(&level)?.pieces;
            return self.ratio(level, without, |own| own.decode, |key| Some(pieces.get(key)?.plain));
        }
        let base = &self.levels.get(&Level::SLOW_BASE)?.pieces;
        let ratio = self.ratio(level, without, |own| own.decode, |key| Some(base.get(key)?.decode))?;
        Some(self.decoding(Level::SLOW_BASE, without)? * ratio)
    }

    /// The sum of something over a level's pieces, to that of something else.
    fn ratio(
        &self,
        level: Level,
        without: Option<PieceKey>,
        own: impl Fn(&PieceMeasurement) -> f64,
        other: impl Fn(&PieceKey) -> Option<f64>,
    ) -> Option<f64> {
        let (mut sum, mut to) = (0.0, 0.0);
        for (key, piece) in &self.levels.get(&level)?.pieces {
            if Some(*key) != without {
                sum += own(piece);
                to += other(key)?;
            }
        }
        (to > 0.0).then(|| sum / to)
    }

    /// The image's compressed layers, in bytes.
    pub(super) fn bytes(&self, level: Level) -> Estimate {
        let stay: f64 = self
            .layers
            .iter()
            .filter(|layer| layer.facts.is_kept())
            .map(|layer| float(layer.facts.compressed_size))
            .sum();
        let margin = match self.levels.get(&level) {
            Some(LevelMeasurement { exact: Some(_), .. }) => Some(0.0),
            _ => self.margin(level, |measured, without| measured.encoded(level, without)),
        };
        Estimate { value: stay + self.encoded(level, None).unwrap_or_default(), margin }
    }

    /// Bytes unpacked a second.
    pub(super) fn decode_speed(&self, level: Level) -> Option<Estimate> {
        let speed = |measured: &Self, without| Some(1.0 / measured.decoding(level, without)?);
        let value = speed(self, None).filter(|speed| speed.is_finite())?;
        Some(Estimate { value, margin: self.margin(level, speed) })
    }

    /// Bytes encoded a second.
    pub(super) fn encode_speed(&self, level: Level) -> Option<f64> {
        let pieces = &self.levels.get(&level)?.pieces;
        let took = self.ratio(level, None, |own| own.encode, |key| Some(pieces.get(key)?.plain))?;
        Some(1.0 / took).filter(|speed| speed.is_finite())
    }

    /// Seconds until the image is there and unpacked, at a level or as it is now.
    pub(super) fn baseline_seconds(&self, link: f64) -> f64 {
        pull_seconds(
            self.layers.iter().map(|layer| {
                layer.pull(float(layer.facts.compressed_size), layer.facts.unpack.as_secs_f64())
            }),
            link,
        )
    }

    fn seconds(&self, level: Level, link: f64, without: Option<PieceKey>) -> Option<f64> {
        let fast = self.exact_levels.iter().position(|level| *level == Level::FAST_BASE)?;
        let at_base = |layer: &MeasuredLayer| layer.facts.sizes.get(fast).map_or(0.0, |size| float(*size));
        let growth = self.encoded(level, without)? / self.layers.iter().map(at_base).sum::<f64>();
        // An image of no bytes takes no time.
        let decoding = self.decoding(level, without).unwrap_or_default();
        let arrivals = self.layers.iter().map(|layer| {
            if layer.facts.is_kept() {
                layer.pull(float(layer.facts.compressed_size), layer.facts.unpack.as_secs_f64())
            } else {
                layer.pull(at_base(layer) * growth, float(layer.facts.plain) * decoding)
            }
        });
        Some(pull_seconds(arrivals, link))
    }

    /// The same with its margin.
    pub(super) fn time(&self, level: Level, link: f64) -> Option<Estimate> {
        let value = self.seconds(level, link, None)?;
        Some(Estimate {
            value,
            margin: self.margin(level, |measured, without| measured.seconds(level, link, without)),
        })
    }

    /// How much longer one level takes than another. It is surer than the times are: both rest on the
    /// same pieces.
    pub(super) fn difference(&self, level: Level, other: Level, link: f64) -> Option<Estimate> {
        let difference = |measured: &Self, without| {
            Some(measured.seconds(level, link, without)? - measured.seconds(other, link, without)?)
        };
        let fewer = if self.pieces(level) < self.pieces(other) { level } else { other };
        Some(Estimate { value: difference(self, None)?, margin: self.margin(fewer, difference) })
    }

    /// How many pieces a level was measured on.
    pub(super) fn pieces(&self, level: Level) -> usize {
        self.levels.get(&level).map_or(0, |measured| measured.pieces.len())
    }

    fn margin(&self, level: Level, estimate: impl Fn(&Self, Option<PieceKey>) -> Option<f64>) -> Option<f64> {
        // Every level's pieces are among those of the fastest.
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
    /// All of it, for these levels and links.
    pub(super) fn report(&self, levels: &[Level], links: &[u64]) -> TuneReport {
        let unpack: f64 = self.layers.iter().map(|layer| layer.facts.unpack.as_secs_f64()).sum();
        let uncompressed_bytes = self.layers.iter().map(|layer| layer.facts.plain).sum();
        let speed = float(uncompressed_bytes) / unpack;
        let baseline = Baseline {
            bytes: self.layers.iter().map(|layer| layer.facts.compressed_size).sum(),
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
        let layers_kept = self.layers.iter().filter(|layer| layer.facts.is_kept()).count();
        TuneReport { uncompressed_bytes, layers_kept, baseline, levels: levels.collect() }
    }

    /// Every level over one link.
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

/// A number of bytes.
#[expect(clippy::cast_precision_loss, reason = "an image has less than 2^53 bytes")]
pub(super) fn float(bytes: u64) -> f64 {
    bytes as f64
}

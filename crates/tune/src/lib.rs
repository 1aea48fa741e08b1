//! What each zstd level would make of an image: how large it gets, and how soon a node has pulled and
//! unpacked it. LevelMeasurement on the image's own bytes, with the encoder that a conversion uses; nothing is
//! written anywhere.
//!
//! The image is read once. Levels up to 3 encode all of it, so their sizes are exact. From 4 on, pieces
//! of 4 MiB are encoded that are spread evenly over all layers, each behind as many bytes as the level's
//! window reaches back; from [`FIRST_SLOW_LEVEL`] on, a quarter of these pieces. An image that is no larger than
//! the sample is encoded whole.

use std::collections::{BTreeMap, HashSet};
use std::io::BufRead;
use std::sync::{Arc, Mutex};

use zstart_core::Digest;
use zstart_core::sync::lock;

use self::benchmark::PieceMeasurement;
use self::estimates::{LevelMeasurement, MeasuredLayer, Measurements};
use self::scan::SourceScan;
use zstart_codec::LayerError;
use zstart_codec::{Level, UnpackLimits};
use zstart_convert::Error;
use zstart_convert::plan::ManifestPlan;
use zstart_convert::progress::{LayerResult, Progress};
use zstart_convert::read_layer;
use zstart_registry::Store;

mod benchmark;
mod estimates;
mod jackknife;
mod pull;
mod sample;
mod scan;
mod stopwatch;
#[cfg(test)]
mod tests;

/// From this level on a quarter of the sample must do: the slowest encode 2 to 4 MB a second.
pub const FIRST_SLOW_LEVEL: i32 = 10;
/// The share that they get.
const SLOW_SAMPLE_DIVISOR: u64 = 4;
/// The least that a sample may be: two pieces, and what is kept with them, for the slowest levels.
pub const MIN_SAMPLE_BYTES: u64 =
    SLOW_SAMPLE_DIVISOR * 2 * (1 + sample::WARMUP_PIECES as u64) * sample::PIECE_BYTES as u64;

/// What is to be found out.
#[derive(Clone, Debug)]
pub struct TuneOptions {
    /// The levels to measure.
    pub levels: Vec<Level>,
    /// How many unpacked bytes are kept in memory to be encoded; [`MIN_SAMPLE_BYTES`] at least.
    pub sample_bytes: u64,
    /// The links to reckon with, in bits per second.
    pub bandwidths: Vec<u64>,
}

/// A number, and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// The true one is at most that far away, 19 times of 20. Zero where it is exact, `None` where
    /// there was too little to tell.
    pub margin: Option<f64>,
}

impl Estimate {
    /// The number, where it is one of bytes.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "there are fewer than 2^53")]
    pub fn rounded(self) -> u64 {
        self.value.round() as u64
    }
}

/// The answer.
#[derive(Clone, Debug)]
pub struct TuneReport {
    /// All layers unpacked, in bytes.
    pub uncompressed_bytes: u64,
    /// Layers that are zstd already: they stay as they are at every level.
    pub layers_kept: usize,
    /// The image as it is.
    pub baseline: Baseline,
    /// One for each level, in order; none where there is no layer to encode.
    pub levels: Vec<LevelEstimate>,
}

/// An image as it is.
#[derive(Clone, Debug)]
pub struct Baseline {
    /// Its compressed layers, in bytes.
    pub bytes: u64,
    /// Bytes unpacked a second; `None` where there are none.
    pub decode_speed: Option<f64>,
    /// Seconds until it is pulled and unpacked, for each link.
    pub seconds: Vec<f64>,
}

/// An image as a level would make it.
#[derive(Clone, Debug)]
pub struct LevelEstimate {
    /// The level.
    pub level: Level,
    /// How many pieces its speeds were measured on, and its size where that isn't exact.
    pub pieces: usize,
    /// The image's compressed layers, in bytes.
    pub bytes: Estimate,
    /// Bytes encoded a second, by one thread.
    pub encode_speed: Option<f64>,
    /// Bytes unpacked a second, by one thread; `None` where there are none.
    pub decode_speed: Option<Estimate>,
    /// For each link.
    pub pulls: Vec<PullEstimate>,
}

/// An image at one level, over one link.
#[derive(Clone, Copy, Debug)]
pub struct PullEstimate {
    /// Seconds until it is pulled and unpacked.
    pub seconds: Estimate,
    /// How it compares with the other levels.
    pub rank: Rank,
}

/// How a level compares with the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// The shortest time of all.
    Best,
    /// Longer than the best, but by less than is sure.
    AsGood,
    /// Longer than the best.
    Slower,
}

/// Measures an image.
///
/// Layers are read one by one, and each is compared with its digest and the config's `diff_id`, as in a
/// conversion.
pub async fn tune(
    source: &dyn Store,
    image: &ManifestPlan,
    options: &TuneOptions,
    progress: &dyn Progress,
) -> Result<TuneReport, Error> {
    let mut wanted = options.levels.clone();
    wanted.sort_unstable();
    wanted.dedup();
    // What other levels' figures follow from is measured too.
    let mut needed = wanted.clone();
    needed.push(Level::FAST_BASE);
    if wanted.iter().any(|level| level.get() >= FIRST_SLOW_LEVEL) {
        needed.push(Level::SLOW_BASE);
    }
    needed.sort_unstable();
    needed.dedup();

    let exact_levels: Vec<Level> =
        needed.iter().copied().filter(|level| *level <= Level::FAST_BASE).collect();
    let layers = image.manifest.layers.len();
    let scan = Arc::new(Mutex::new(SourceScan::new(exact_levels.clone(), layers, options.sample_bytes)));
    read_layers(source, image, &scan, progress).await?;
    let layers = with_repetitions(image, &lock(&scan));
    let mut measurements = Measurements { layers, exact_levels, levels: BTreeMap::new() };
    if measurements.layers.iter().all(|layer| layer.facts.is_kept()) {
        wanted.clear();
        needed.clear();
    }
    for level in needed {
        progress.measuring(level);
        let (scan, sample) = (Arc::clone(&scan), options.sample_bytes);
        let measured = tokio::task::spawn_blocking(move || measure(level, &lock(&scan), sample)).await;
        let died = LayerError::Write { source: std::io::Error::other("the thread that measures died") };
        let measured = measured.unwrap_or(Err(died));
        let measured = measured.map_err(|source| Error::Measure { level: level.get(), source })?;
        measurements.levels.insert(level, measured);
    }
    Ok(measurements.report(&wanted, &options.bandwidths))
}

async fn read_layers(
    source: &dyn Store,
    image: &ManifestPlan,
    scan: &Arc<Mutex<SourceScan>>,
    progress: &dyn Progress,
) -> Result<(), Error> {
    for (index, (layer, promised)) in image.manifest.layers.iter().zip(&image.diff_ids).enumerate() {
        let scan = Arc::clone(scan);
        let read = move |source: &mut dyn BufRead, limits| scan::scan_layer(&scan, index, source, limits);
        let found = read_layer(source, layer, UnpackLimits::default(), progress, read).await?;
        if found != *promised {
            return Err(Error::DiffId {
                manifest: image.raw.digest.clone(),
                layer: layer.digest().clone(),
                found,
                promised: promised.clone(),
            });
        }
        progress.finished(layer.digest(), LayerResult::Read);
    }
    Ok(())
}

/// Whichever layer is listed twice is pulled once.
fn with_repetitions(image: &ManifestPlan, scan: &SourceScan) -> Vec<MeasuredLayer> {
    let mut seen: HashSet<&Digest> = HashSet::new();
    let layers = image.manifest.layers.iter().zip(&scan.layers);
    let layers = layers
        .map(|(layer, facts)| MeasuredLayer { facts: facts.clone(), repeated: !seen.insert(layer.digest()) });
    layers.collect()
}

/// One level, on its share of the sample.
fn measure(level: Level, scan: &SourceScan, sample: u64) -> Result<LevelMeasurement, LayerError> {
    let budget = if level.get() >= FIRST_SLOW_LEVEL { sample / SLOW_SAMPLE_DIVISOR } else { sample };
    let selection = scan.sample.select(budget);
    let mut pieces = benchmark::benchmark_level(level, &selection)?;
    let exact = match scan.levels.iter().position(|fast| *fast == level) {
        Some(fast) => {
            // Encoded where they stand they came to this; behind their lead alone to almost the same.
            for (key, piece) in &mut pieces {
                if let Some(sizes) = scan.piece_sizes.get(key) {
                    piece.size = estimates::float(sizes[fast]);
                }
            }
            let sizes = scan.layers.iter().filter_map(|layer| layer.sizes.get(fast));
            Some(sizes.map(|size| estimates::float(*size)).sum())
        }
        None if selection.whole => Some(pieces.values().map(|PieceMeasurement { size, .. }| size).sum()),
        None => None,
    };
    Ok(LevelMeasurement { exact, pieces })
}

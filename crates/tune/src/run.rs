//! Measurement of an image: one read of the source, then one benchmark per level.

use std::collections::{BTreeMap, HashSet};
use std::io::BufRead;
use std::sync::{Arc, Mutex};

use zstart_codec::{LayerError, Level, UnpackLimits};
use zstart_convert::plan::ManifestPlan;
use zstart_convert::progress::{LayerResult, Progress};
use zstart_convert::read_layer;
use zstart_convert::{DiffIdMismatch, Error};
use zstart_core::Digest;
use zstart_core::sync::lock;
use zstart_registry::Store;

use super::benchmark::{self, PieceMeasurement};
use super::estimates::{self, LevelMeasurement, MeasuredLayer, Measurements};
use super::scan::{self, SourceScan};
use super::types::{TuneOptions, TuneReport};
use super::{FIRST_SLOW_LEVEL, SLOW_SAMPLE_DIVISOR};

/// Measures an image.
///
/// Layers are read one by one. Each is compared with its digest and the config's `diff_id`, as in a
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
    // Estimates of other levels need the base levels.
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
    let scan = Arc::new(Mutex::new(SourceScan::new(
        options.node,
        exact_levels.clone(),
        layers,
        options.sample_bytes,
    )));
    read_layers(source, image, &scan, progress).await?;
    let layers = mark_repeated(image, &lock(&scan));
    let mut measurements = Measurements { layers, exact_levels, levels: BTreeMap::new() };
    if measurements.layers.iter().all(|layer| layer.measurement.is_kept()) {
        wanted.clear();
        needed.clear();
    }
    for level in needed {
        progress.measuring(level);
        let (scan, sample) = (Arc::clone(&scan), options.sample_bytes);
        let measured = tokio::task::spawn_blocking(move || measure(level, &lock(&scan), sample)).await;
        let died = LayerError::Write { source: std::io::Error::other("the measuring thread panicked") };
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
            return Err(Error::DiffId(Box::new(DiffIdMismatch {
                manifest: image.raw.digest.clone(),
                layer: layer.digest().clone(),
                found,
                promised: promised.clone(),
            })));
        }
        progress.finished(layer.digest(), LayerResult::Read);
    }
    Ok(())
}

/// Marks repeated layers: a node pulls a layer once, even if the manifest lists it twice.
fn mark_repeated(image: &ManifestPlan, scan: &SourceScan) -> Vec<MeasuredLayer> {
    let mut seen: HashSet<&Digest> = HashSet::new();
    let layers = image.manifest.layers.iter().zip(&scan.layers);
    let layers = layers.map(|(layer, measurement)| MeasuredLayer {
        measurement: measurement.clone(),
        repeated: !seen.insert(layer.digest()),
    });
    layers.collect()
}

/// Measures one level on its share of the sample.
fn measure(level: Level, scan: &SourceScan, sample: u64) -> Result<LevelMeasurement, LayerError> {
    let budget = if level.get() >= FIRST_SLOW_LEVEL { sample / SLOW_SAMPLE_DIVISOR } else { sample };
    let selection = scan.sample.select(budget);
    let mut pieces = benchmark::benchmark_level(scan.node, level, &selection)?;
    let exact = match scan.levels.iter().position(|exact| *exact == level) {
        Some(index) => {
            // The exact sizes from the scan. Encoded after the warm-up pieces alone, a piece has almost the
            // same size.
            for (key, piece) in &mut pieces {
                if let Some(sizes) = scan.piece_sizes.get(key) {
                    piece.size = estimates::float(sizes[index]);
                }
            }
            let sizes = scan.layers.iter().filter_map(|layer| layer.sizes.get(index));
            Some(sizes.map(|size| estimates::float(*size)).sum())
        }
        None if selection.whole => Some(pieces.values().map(|PieceMeasurement { size, .. }| size).sum()),
        None => None,
    };
    Ok(LevelMeasurement { exact, pieces })
}

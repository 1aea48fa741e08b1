//! Tests of the estimates.

use std::collections::BTreeMap;
use std::time::Duration;

use super::benchmark::PieceMeasurement;
use super::estimates::{LevelMeasurement, MeasuredLayer, Measurements};
use super::scan::LayerMeasurement;
use super::*;
use zstart_codec::Level;

fn level(number: i32) -> Level {
    Level::try_from(number).unwrap()
}

/// Pieces of 100 bytes that were encoded to these sizes, in one second each.
fn pieces(sizes: &[f64], decode: f64) -> BTreeMap<u64, PieceMeasurement> {
    let pieces = sizes.iter().map(|size| PieceMeasurement {
        uncompressed_size: 100.0,
        size: *size,
        encode: 1.0,
        decode,
    });
    (1..).zip(pieces).collect()
}

/// An image of two layers: 1000 uncompressed bytes and 500 at level 3, of which 300 were measured at level 9
/// and 200 at level 19; the second layer is already zstd.
fn measurements(at_3: &[f64], at_9: &[f64], at_19: &[f64]) -> Measurements {
    let layer = |compressed_size, uncompressed_size, sizes: &[u64]| LayerMeasurement {
        compressed_size,
        uncompressed_size,
        unpack: Duration::from_secs(2),
        sizes: sizes.to_vec(),
    };
    let layers = [layer(600, 1000, &[500]), layer(50, 70, &[])];
    let levels = [
        (level(3), LevelMeasurement { exact: Some(500.0), pieces: pieces(at_3, 0.1) }),
        (level(9), LevelMeasurement { exact: None, pieces: pieces(at_9, 0.2) }),
        (level(19), LevelMeasurement { exact: None, pieces: pieces(at_19, 0.3) }),
    ];
    Measurements {
        layers: layers.map(|measurement| MeasuredLayer { measurement, repeated: false }).to_vec(),
        exact_levels: vec![level(3)],
        levels: levels.into_iter().collect(),
    }
}

fn assert_near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
}

#[test]
fn estimates_scale_exact_sizes_by_piece_ratios() {
    let measurements = measurements(&[50.0, 30.0, 20.0], &[40.0, 24.0, 16.0], &[20.0, 12.0]);
    let kept_layer = 50.0;
    assert_eq!(measurements.bytes(level(3)), Estimate { value: 550.0, margin: Some(0.0) });
    assert_near(measurements.bytes(level(9)).value, 500.0 * 0.8 + kept_layer);
    assert_near(measurements.bytes(level(19)).value, 500.0 * 0.8 * 0.5 + kept_layer);
    // All pieces have one ratio, so the estimate doesn't depend on their selection.
    assert_near(measurements.bytes(level(19)).margin.unwrap(), 0.0);
    assert_near(measurements.decode_speed(level(19)).unwrap().value, 100.0 / 0.3);
    assert_near(measurements.encode_speed(level(9)).unwrap(), 100.0);
}

#[test]
fn margin_grows_with_variance_and_with_fewer_pieces() {
    let measurements = measurements(&[50.0, 30.0, 20.0], &[40.0, 28.0, 15.0], &[20.0, 12.0]);
    let margins = [9, 19].map(|number| measurements.bytes(level(number)).margin.unwrap());
    assert!(0.0 < margins[0] && margins[0] < margins[1], "{margins:?}");
}

#[test]
fn single_piece_gives_an_estimate_without_margin() {
    let measurements = measurements(&[50.0, 30.0], &[40.0, 28.0], &[20.0]);
    assert_eq!(measurements.bytes(level(19)).margin, None);
    let report = measurements.report(&[level(3), level(19)], &[8]);
    let ranks: Vec<Rank> = report.levels.iter().map(|level| level.pulls[0].rank).collect();
    assert_eq!(ranks, [Rank::AsGood, Rank::Best]);
}

#[test]
fn pull_time_follows_bandwidth_and_decode_speed() {
    let measurements = measurements(&[50.0, 30.0, 20.0], &[40.0, 24.0, 16.0], &[20.0, 12.0]);
    // At one byte per second, a layer is unpacked during the next download. At 8 * 10^12 bytes per second,
    // only unpacking counts.
    let report = measurements.report(&[level(3), level(9), level(19)], &[8, 64_000_000_000_000]);
    assert_near(report.baseline.seconds[0], 600.0 + 50.0 + 2.0);
    let slow = report.levels.iter().map(|level| level.pulls[0].seconds.value);
    let expected = [500.0 + 50.0 + 2.0, 400.0 + 50.0 + 2.0, 200.0 + 50.0 + 2.0];
    slow.zip(expected).for_each(|(found, expected)| assert_near(found, expected));
    let fast = report.levels.iter().map(|level| level.pulls[1].seconds.value);
    for (found, expected) in fast.zip([1.0 + 2.0, 2.0 + 2.0, 3.0 + 2.0]) {
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    }
    assert_eq!(report.levels[2].pulls[0].rank, Rank::Best);
    assert_eq!(report.levels[0].pulls[1].rank, Rank::Best);
    assert_eq!((report.uncompressed_bytes, report.layers_kept, report.baseline.bytes), (1070, 1, 650));
}

#[test]
fn difference_within_its_margin_is_not_ranked_slower() {
    // Both levels have about one total size, but not on each piece.
    let measurements = measurements(&[50.0, 30.0, 20.0], &[40.0, 32.0, 27.0], &[20.0, 12.0]);
    let report = measurements.report(&[level(3), level(9)], &[8]);
    let ranks: Vec<Rank> = report.levels.iter().map(|level| level.pulls[0].rank).collect();
    assert_eq!(ranks, [Rank::AsGood, Rank::Best]);
}

#[test]
fn repeated_layer_is_pulled_once() {
    let mut measurements = measurements(&[50.0, 30.0], &[40.0, 24.0], &[20.0]);
    measurements.layers.push(MeasuredLayer { repeated: true, ..measurements.layers[1].clone() });
    let report = measurements.report(&[], &[8]);
    assert_near(report.baseline.seconds[0], 600.0 + 50.0 + 2.0 + 2.0);
    assert_eq!(report.baseline.bytes, 700);
}

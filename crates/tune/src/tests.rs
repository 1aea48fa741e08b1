use std::collections::BTreeMap;
use std::time::Duration;

use super::figures::{Figures, Layer, Measured};
use super::level::PieceFacts;
use super::read::LayerFacts;
use super::*;

fn level(number: i32) -> Level {
    Level::try_from(number).unwrap()
}

/// Pieces of 100 bytes that came to these sizes, and took a second to encode.
fn pieces(sizes: &[f64], decode: f64) -> BTreeMap<u64, PieceFacts> {
    let facts = sizes.iter().map(|size| PieceFacts { plain: 100.0, size: *size, encode: 1.0, decode });
    (1..).zip(facts).collect()
}

/// An image of two layers, 1000 bytes unpacked and 500 at level 3, of which 300 were measured at level 9
/// and 200 at level 19; the second layer is zstd already.
fn figures(at_3: &[f64], at_9: &[f64], at_19: &[f64]) -> Figures {
    let facts = |compressed_size, plain, sizes: &[u64]| LayerFacts {
        compressed_size,
        plain,
        unpack: Duration::from_secs(2),
        sizes: sizes.to_vec(),
    };
    let layers = [facts(600, 1000, &[500]), facts(50, 70, &[])];
    let levels = [
        (level(3), Measured { exact: Some(500.0), pieces: pieces(at_3, 0.1) }),
        (level(9), Measured { exact: None, pieces: pieces(at_9, 0.2) }),
        (level(19), Measured { exact: None, pieces: pieces(at_19, 0.3) }),
    ];
    Figures {
        layers: layers.map(|facts| Layer { facts, repeated: false }).to_vec(),
        fast: vec![level(3)],
        levels: levels.into_iter().collect(),
    }
}

fn assert_near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
}

#[test]
fn what_is_known_of_everything_goes_with_the_ratios_on_the_pieces() {
    let figures = figures(&[50.0, 30.0, 20.0], &[40.0, 24.0, 16.0], &[20.0, 12.0]);
    let layer_that_stays = 50.0;
    assert_eq!(figures.bytes(level(3)), Figure { value: 550.0, margin: Some(0.0) });
    assert_near(figures.bytes(level(9)).value, 500.0 * 0.8 + layer_that_stays);
    assert_near(figures.bytes(level(19)).value, 500.0 * 0.8 * 0.5 + layer_that_stays);
    // The ratios are the same on every piece: nothing depends on which ones were taken.
    assert_near(figures.bytes(level(19)).margin.unwrap(), 0.0);
    assert_near(figures.decode_speed(level(19)).unwrap().value, 100.0 / 0.3);
    assert_near(figures.encode_speed(level(9)).unwrap(), 100.0);
}

#[test]
fn pieces_that_differ_make_it_unsure_and_fewer_of_them_more_so() {
    let figures = figures(&[50.0, 30.0, 20.0], &[40.0, 28.0, 15.0], &[20.0, 12.0]);
    let margins = [9, 19].map(|number| figures.bytes(level(number)).margin.unwrap());
    assert!(0.0 < margins[0] && margins[0] < margins[1], "{margins:?}");
}

#[test]
fn a_single_piece_leaves_open_how_sure_it_is() {
    let figures = figures(&[50.0, 30.0], &[40.0, 28.0], &[20.0]);
    assert_eq!(figures.bytes(level(19)).margin, None);
    let tuning = figures.tuning(&[level(3), level(19)], &[8]);
    let ranks: Vec<Rank> = tuning.levels.iter().map(|level| level.prospects[0].rank).collect();
    assert_eq!(ranks, [Rank::AsGood, Rank::Best]);
}

#[test]
fn an_image_is_pulled_and_unpacked_as_it_would_be_at_each_level() {
    let figures = figures(&[50.0, 30.0, 20.0], &[40.0, 24.0, 16.0], &[20.0, 12.0]);
    // One byte a second, and layers that are unpacked while the next one comes; 8 * 10^9 a second: unpacking alone.
    let tuning = figures.tuning(&[level(3), level(9), level(19)], &[8, 64_000_000_000_000]);
    assert_near(tuning.now.seconds[0], 600.0 + 50.0 + 2.0);
    let slow = tuning.levels.iter().map(|level| level.prospects[0].seconds.value);
    let expected = [500.0 + 50.0 + 2.0, 400.0 + 50.0 + 2.0, 200.0 + 50.0 + 2.0];
    slow.zip(expected).for_each(|(found, expected)| assert_near(found, expected));
    let fast = tuning.levels.iter().map(|level| level.prospects[1].seconds.value);
    for (found, expected) in fast.zip([1.0 + 2.0, 2.0 + 2.0, 3.0 + 2.0]) {
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    }
    assert_eq!(tuning.levels[2].prospects[0].rank, Rank::Best);
    assert_eq!(tuning.levels[0].prospects[1].rank, Rank::Best);
    assert_eq!((tuning.plain_bytes, tuning.layers_kept, tuning.now.bytes), (1070, 1, 650));
}

#[test]
fn a_difference_within_its_margin_is_none() {
    // The same size in all, but not on each piece.
    let figures = figures(&[50.0, 30.0, 20.0], &[40.0, 32.0, 27.0], &[20.0, 12.0]);
    let tuning = figures.tuning(&[level(3), level(9)], &[8]);
    let ranks: Vec<Rank> = tuning.levels.iter().map(|level| level.prospects[0].rank).collect();
    assert_eq!(ranks, [Rank::AsGood, Rank::Best]);
}

#[test]
fn a_layer_that_is_listed_twice_is_pulled_once() {
    let mut figures = figures(&[50.0, 30.0], &[40.0, 24.0], &[20.0]);
    figures.layers.push(Layer { repeated: true, ..figures.layers[1].clone() });
    let tuning = figures.tuning(&[], &[8]);
    assert_near(tuning.now.seconds[0], 600.0 + 50.0 + 2.0 + 2.0);
    assert_eq!(tuning.now.bytes, 700);
}

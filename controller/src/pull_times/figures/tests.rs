use super::*;

fn digest() -> Digest {
    Digest::sha256_of(b"source")
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn recorded(pulls: i64, median_milliseconds: i64) -> PullFigures {
    PullFigures { pulls, median_milliseconds, image_bytes: Some(100) }
}

fn add(figures: &mut Figures, kind: PullKind, times: &[u64]) {
    for time in times {
        figures.add(kind, millis(*time), None);
    }
}

#[test]
fn median_is_that_of_the_last_64_pulls() {
    let mut samples = Samples::default();
    assert_eq!(samples.figures(), None);
    for (time, median) in [(10, 10), (30, 20), (20, 20), (1_000_000, 25)] {
        samples.add(millis(time), None);
        assert_eq!(samples.median(), Some(median), "after {time}");
    }
    for _ in 0..WINDOW {
        samples.add(millis(7), Some(42));
    }
    samples.add(Duration::MAX, None);
    let figures = PullFigures { pulls: 69, median_milliseconds: 7, image_bytes: Some(42) };
    assert_eq!((samples.figures(), samples.millis.len()), (Some(figures), WINDOW));
}

#[test]
fn partial_pulls_do_not_move_the_median() {
    let mut samples = Samples::default();
    for time in [4_000, 4_100, 60, 4_200, 55_000] {
        samples.add(millis(time), None);
    }
    assert_eq!(samples.median(), Some(4_100));
}

#[test]
fn moved_digest_begins_all_figures_again() {
    let mut figures = Figures::default();
    add(&mut figures, PullKind::Original, &[9, 9, 9]);
    assert!(figures.accepts_variants_of(digest().short()));
    add(&mut figures, PullKind::Variant, &[1, 1, 1]);
    figures.update(&digest(), None);
    let before = figures.measured(&digest());
    assert_eq!((&*before.summary.saved, figures.generation()), ("88.9%", 0));
    figures.update(&digest(), Some(&before));
    assert_eq!(figures.measured(&digest()), before, "the record's figures are its own");

    let moved = Digest::sha256_of(b"moved");
    figures.update(&moved, Some(&before));
    assert_eq!(figures.measured(&moved), MeasuredPulls::new(moved.clone(), None, None));
    assert_eq!(figures.generation(), 1);
    assert!(figures.accepts_variants_of(moved.short()) && !figures.accepts_variants_of(digest().short()));
}

#[test]
fn variants_of_an_earlier_digest_do_not_count() {
    let mut figures = Figures::default();
    let moved = Digest::sha256_of(b"moved");
    // The record wasn't read yet, and a pod still runs the variant of the earlier digest.
    assert!(figures.accepts_variants_of(digest().short()) && !figures.accepts_variants_of(moved.short()));
    add(&mut figures, PullKind::Variant, &[1, 1, 1]);
    add(&mut figures, PullKind::Original, &[9, 9, 9]);
    figures.update(&moved, None);
    let measured = figures.measured(&moved);
    assert_eq!((measured.original.map(|original| original.pulls), measured.variant), (Some(3), None));
    assert!(figures.settle().abs() < 1e-9);
    assert_eq!(figures.take_unsized_pulls(), 0);
}

#[test]
fn new_process_continues_the_record() {
    let record = MeasuredPulls::new(digest(), Some(recorded(12, 4_000)), Some(recorded(100, 2_000)));
    let mut figures = Figures::default();
    assert!(figures.accepts_variants_of(digest().short()));
    add(&mut figures, PullKind::Variant, &[900]);
    figures.update(&digest(), Some(&record));
    let measured = figures.measured(&digest());
    assert_eq!(measured.original, Some(recorded(12, 4_000)));
    assert_eq!(measured.variant, Some(recorded(101, 2_000)), "one pull doesn't replace a hundred");
    assert_eq!(measured.summary.saved, "50.0%");
    // As many new pulls as the record's weight outweigh it.
    add(&mut figures, PullKind::Variant, &[900; RESTORED]);
    assert_eq!(figures.measured(&digest()).variant, Some(recorded(133, 900)));

    let mut figures = Figures::default();
    figures.update(&Digest::sha256_of(b"moved"), Some(&record));
    assert_eq!(figures.measured(&digest()).original, None, "the record is about another digest");
}

#[test]
fn estimate_waits_for_three_originals_and_may_be_negative() {
    let mut figures = Figures::default();
    let mut settle = |kind, times: &[u64]| {
        add(&mut figures, kind, times);
        (figures.settle() * 1000.0).round()
    };
    assert_eq!(settle(PullKind::Variant, &[1_000, 2_000]).to_bits(), 0_f64.to_bits());
    assert_eq!(settle(PullKind::Original, &[4_000, 4_000]).to_bits(), 0_f64.to_bits());
    assert_eq!(settle(PullKind::Original, &[4_000]).to_bits(), 5_000_f64.to_bits());
    assert_eq!(settle(PullKind::Variant, &[]).to_bits(), 0_f64.to_bits(), "each pull counts once");
    assert_eq!(settle(PullKind::Variant, &[5_500]).to_bits(), (-1_500_f64).to_bits());
}

#[test]
fn each_pull_of_a_variant_is_sized_once() {
    let mut figures = Figures::default();
    add(&mut figures, PullKind::Original, &[4_000]);
    add(&mut figures, PullKind::Variant, &[1_000, 2_000]);
    assert_eq!(figures.take_unsized_pulls(), 2);
    assert_eq!(figures.take_unsized_pulls(), 0);
}

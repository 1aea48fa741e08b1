use std::sync::Arc;

use zstart_core::Digest;

use super::*;
use crate::pull_times::PullKind;

const SECOND: Duration = Duration::from_secs(1);

fn source(name: &str) -> Source {
    Arc::new(format!("r.example/{name}:v1").parse().unwrap())
}

fn digest() -> Digest {
    Digest::sha256_of(b"source")
}

/// Pull of 2 seconds. Variants are of the digest whose digits are given.
fn pull<'a>(name: &str, node: &'a str, variant_of: Option<&str>) -> Pull<'a> {
    let kind = if variant_of.is_some() { PullKind::Variant } else { PullKind::Original };
    let pulled = PulledSource { source: source(name), kind, variant_of: variant_of.map(Into::into) };
    Pull { pulled, node, took: 2 * SECOND, image_bytes: None }
}

#[test]
fn later_pulls_of_a_node_are_repeated_of_either_image() {
    let (mut ledger, now, digest) = (Ledger::default(), Instant::now(), digest());
    let variant = Some(digest.short());
    assert_eq!(ledger.observe(pull("app", "a", None), now), Observed::Counted);
    assert_eq!(ledger.observe(pull("app", "a", None), now), Observed::Repeated);
    assert_eq!(ledger.observe(pull("app", "a", variant), now), Observed::Repeated, "the layers are there");
    assert_eq!(ledger.observe(pull("app", "b", variant), now), Observed::Counted);
    assert_eq!(ledger.observe(pull("app", "b", None), now), Observed::Repeated);
    assert_eq!(ledger.observe(pull("other", "a", None), now), Observed::Counted);
    let measured = ledger.read(&source("app"), now).unwrap().measured(&digest);
    let pulls = |figures: Option<zstart_core::record::PullFigures>| figures.unwrap().pulls;
    assert_eq!((pulls(measured.original), pulls(measured.variant)), (1, 1));
}

#[test]
fn record_is_due_soon_after_first_pulls_and_rarely_later() {
    let (mut ledger, start) = (Ledger::default(), Instant::now());
    let node = |number: u32| format!("node-{number}");
    assert_eq!(ledger.next_due(), None);
    for number in 0..5 {
        ledger.observe(pull("app", &node(number), None), start + number * SECOND);
    }
    assert_eq!(ledger.next_due(), Some(start + DEBOUNCE), "the first pull decides");
    assert_eq!(ledger.take_due(start + DEBOUNCE / 2), None);
    assert_eq!(ledger.take_due(start + DEBOUNCE), Some(source("app")));
    assert_eq!((ledger.next_due(), ledger.take_due(start + DEBOUNCE)), (None, None));
    let written = start + DEBOUNCE;
    ledger.written(&source("app"), written);
    ledger.observe(pull("app", "next", None), written + SECOND);
    assert_eq!(ledger.next_due(), Some(written + WRITE_INTERVAL));
    ledger.observe(pull("app", "late", None), written + 2 * WRITE_INTERVAL);
    assert_eq!(ledger.next_due(), Some(written + WRITE_INTERVAL));
    let digest = digest();
    ledger.observe(pull("app", "variant", Some(digest.short())), written + 2 * SECOND);
    assert_eq!(ledger.next_due(), Some(written + 2 * SECOND + DEBOUNCE), "the first variant");
    ledger.observe(pull("app", "second", Some(digest.short())), written + 3 * SECOND);
    assert_eq!(ledger.next_due(), Some(written + 2 * SECOND + DEBOUNCE));
}

#[test]
fn variant_of_another_digest_asks_for_the_record() {
    let (mut ledger, start, digest) = (Ledger::default(), Instant::now(), digest());
    let app = source("app");
    ledger.observe(pull("app", "a", Some(digest.short())), start);
    ledger.take_due(start + DEBOUNCE);
    ledger.read(&app, start + DEBOUNCE).unwrap().update(&digest, None);
    ledger.written(&app, start + DEBOUNCE);
    let moved = Digest::sha256_of(b"moved");
    let now = start + 2 * DEBOUNCE;
    assert_eq!(ledger.observe(pull("app", "b", Some(moved.short())), now), Observed::OtherDigest);
    assert_eq!(ledger.next_due(), Some(start + DEBOUNCE + READ_INTERVAL), "long before the next write");
    let now = ledger.next_due().unwrap();
    assert_eq!(ledger.take_due(now), Some(app.clone()));
    ledger.read(&app, now).unwrap().update(&moved, None);
    // The new digest is other content, also on a node that had the old one.
    assert_eq!(ledger.observe(pull("app", "a", Some(moved.short())), now), Observed::Counted);
    assert_eq!(ledger.observe(pull("app", "b", Some(digest.short())), now), Observed::OtherDigest);
}

#[test]
fn remembered_pull_of_a_node_makes_later_ones_repeated() {
    let (mut ledger, now, digest) = (Ledger::default(), Instant::now(), digest());
    let image = source("app");
    assert!(ledger.remember("a", &image, now));
    assert!(!ledger.remember("a", &image, now), "the layers are there");
    ledger.add(&image, PullKind::Original, 2 * SECOND, None, now);
    assert_eq!(ledger.observe(pull("app", "a", Some(digest.short())), now), Observed::Repeated);
    assert_eq!(ledger.observe(pull("app", "b", Some(digest.short())), now), Observed::Counted);
}

#[test]
fn wait_for_a_record_doubles_up_to_the_interval_of_writes() {
    let (mut ledger, mut now) = (Ledger::default(), Instant::now());
    ledger.observe(pull("app", "a", None), now);
    now += DEBOUNCE;
    for minutes in [1, 2, 4, 8, 10, 10] {
        assert_eq!(ledger.take_due(now), Some(source("app")));
        ledger.wait_for_record(&source("app"), now);
        assert_eq!(ledger.next_due(), Some(now + Duration::from_mins(minutes)));
        now += Duration::from_mins(minutes);
    }
}

#[test]
fn forgotten_source_is_never_due() {
    let (mut ledger, now) = (Ledger::default(), Instant::now());
    for name in ["a", "b", "c"] {
        ledger.observe(pull(name, "node", None), now);
    }
    ledger.forget(&source("a"));
    ledger.retain(|other| *other != source("b"));
    ledger.postpone(&source("b"), now);
    assert_eq!(ledger.take_due(now + DEBOUNCE), Some(source("c")));
    ledger.postpone(&source("c"), now);
    assert_eq!((ledger.next_due(), ledger.due.len()), (Some(now + WRITE_INTERVAL), 1));
    assert_eq!(ledger.entries.len(), 1);
}

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::record::ImageConversionStatus;

const NOON: &str = "2026-11-23T12:00:00Z";

fn digest(text: &str) -> Digest {
    Digest::sha256_of(text.as_bytes())
}

/// A ready record of `source`, whose status then is changed.
fn record(source: &str, change: impl FnOnce(&mut Value)) -> RecordView {
    let mut status = json!({
        "source": {"digest": digest("one"), "checkedAt": NOON},
        "variant": {
            "sourceDigest": digest("one"),
            "reference": format!("r.example/app:v1-zstd-000000000000@{}", digest("variant")),
            "settings": "v1;level=3",
            "platforms": [{"platform": "linux/amd64", "sourceBytes": 2, "variantBytes": 1, "layers": 1,
                "convertedLayers": 1}],
            "verifiedAt": NOON, "durationMilliseconds": 1,
        },
        "conditions": [{"type": "Ready", "status": "True", "reason": "Verified", "message": "",
            "lastTransitionTime": NOON}],
    });
    change(&mut status);
    let mut record =
        ImageConversion::new("a", crate::record::ImageConversionSpec { source: source.parse().unwrap() });
    record.status = Some(serde_json::from_value::<ImageConversionStatus>(status).unwrap());
    record.into()
}

fn offered(record: &RecordView, minutes: u64, targets: &[&str]) -> Result<String, Reason> {
    let policy = VariantPolicy {
        max_staleness: Duration::from_mins(15),
        allowed_targets: targets.iter().map(|target| TargetPrefix::new(target)).collect(),
    };
    let now = NOON.parse::<Timestamp>().unwrap() + Duration::from_mins(minutes);
    record.variant(&policy, now).map(ToString::to_string)
}

#[test]
fn ready_fresh_record_offers_its_pinned_variant() {
    let record = record("r.example/app:v1", |_| {});
    let variant = offered(&record, 15, &[]).unwrap();
    assert_eq!(variant, format!("r.example/app:v1-zstd-000000000000@{}", digest("variant")));
}

#[test]
fn unready_record_offers_no_variant() {
    let not_ready = record("r.example/app:v1", |status| status["conditions"][0]["status"] = json!("False"));
    assert_eq!(offered(&not_ready, 0, &[]), Err(Reason::RecordNotReady));
    let no_variant = record("r.example/app:v1", |status| status["variant"] = Value::Null);
    assert_eq!(offered(&no_variant, 0, &[]), Err(Reason::RecordNotReady));
    let new = ImageConversion::new(
        "a",
        crate::record::ImageConversionSpec { source: "r.example/app:v1".parse().unwrap() },
    );
    assert_eq!(offered(&new.into(), 0, &[]), Err(Reason::RecordNotReady));
}

#[test]
fn unpinned_variant_is_never_offered() {
    let loose =
        record("r.example/app:v1", |status| status["variant"]["reference"] = json!("r.example/app:z"));
    assert_eq!(offered(&loose, 0, &[]), Err(Reason::RecordNotReady));
}

#[test]
fn tag_record_grows_stale_and_digest_record_does_not() {
    assert_eq!(offered(&record("r.example/app:v1", |_| {}), 16, &[]), Err(Reason::RecordStale));
    let pinned = record(&format!("r.example/app@{}", digest("one")), |_| {});
    assert!(offered(&pinned, 100_000, &[]).is_ok());
}

#[test]
fn check_time_ahead_of_now_is_fresh_within_max_staleness() {
    let ahead =
        record("r.example/app:v1", |status| status["source"]["checkedAt"] = json!("2026-11-23T12:00:30Z"));
    assert!(offered(&ahead, 0, &[]).is_ok());
    // Further ahead than a record may be old: it would seem fresh for longer than was promised.
    let far =
        record("r.example/app:v1", |status| status["source"]["checkedAt"] = json!("2026-11-23T18:00:00Z"));
    assert_eq!(offered(&far, 0, &[]), Err(Reason::RecordStale));
}

#[test]
fn moved_source_offers_no_variant() {
    let moved = record("r.example/app:v1", |status| status["source"]["digest"] = json!(digest("two")));
    assert_eq!(offered(&moved, 0, &[]), Err(Reason::SourceMoved));
    let other = record(&format!("r.example/app@{}", digest("two")), |_| {});
    assert_eq!(offered(&other, 0, &[]), Err(Reason::SourceMoved));
}

#[test]
fn variant_in_another_repository_needs_an_allowed_target() {
    let foreign = record("r.example/other:v1", |_| {});
    assert_eq!(offered(&foreign, 0, &[]), Err(Reason::TargetNotAllowed));
    assert_eq!(offered(&foreign, 0, &["r.example/ap", "", "r.exampl"]), Err(Reason::TargetNotAllowed));
    assert!(offered(&foreign, 0, &["r.example/app"]).is_ok());
    assert!(offered(&foreign, 0, &["r.example/"]).is_ok());
}

#[test]
fn every_candidate_platform_must_be_covered() {
    let record = record("r.example/app:v1", |_| {});
    let on = |names: &[&str]| {
        let platforms: BTreeSet<Platform> = names.iter().map(|name| name.parse().unwrap()).collect();
        record.check_platforms(&CandidateNodes::Platforms(platforms))
    };
    assert_eq!(on(&["linux/amd64"]), Ok(()));
    assert_eq!(on(&["linux/amd64", "linux/arm64"]), Err(Reason::PlatformNotCovered));
    assert_eq!(record.check_platforms(&CandidateNodes::AnyPlatform), Ok(()));
    assert_eq!(record.check_platforms(&CandidateNodes::None), Err(Reason::NoCandidateNode));
    assert_eq!(record.check_platforms(&CandidateNodes::Excluded(Reason::Windows)), Err(Reason::Windows));
}

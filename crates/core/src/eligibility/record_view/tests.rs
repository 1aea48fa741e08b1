use serde_json::{Value, json};

use super::*;
use crate::digest::Digest;
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

const AT_NOON: Freshness = Freshness { template_time: None, pulled_always: false };

/// A sweep without entries.
fn unswept() -> Confirmations {
    Confirmations::default()
}

fn policy(targets: &[&str]) -> VariantPolicy {
    VariantPolicy {
        max_staleness: Duration::from_mins(15),
        max_staleness_always: Duration::from_mins(2),
        allowed_targets: targets.iter().map(|target| TargetPrefix::new(target)).collect(),
        ..VariantPolicy::default()
    }
}

fn after(minutes: u64) -> Timestamp {
    NOON.parse::<Timestamp>().unwrap() + Duration::from_mins(minutes)
}

fn offered(record: &RecordView, minutes: u64, targets: &[&str]) -> Result<String, Reason> {
    let found = record.variant(&policy(targets), AT_NOON, &unswept(), after(minutes));
    found.map(|variant| variant.reference_for(record.source()))
}

#[test]
fn ready_fresh_record_offers_its_pinned_variant() {
    let record = record("r.example/app:v1", |_| {});
    let variant = offered(&record, 15, &[]).unwrap();
    assert_eq!(variant, format!("r.example/app:v1-zstd-000000000000@{}", digest("variant")));
}

#[test]
fn unready_record_offers_no_variant() {
    let no_variant = record("r.example/app:v1", |status| status["variant"] = Value::Null);
    assert_eq!(offered(&no_variant, 0, &[]), Err(Reason::RecordNotReady));
    let new = ImageConversion::new(
        "a",
        crate::record::ImageConversionSpec { source: "r.example/app:v1".parse().unwrap() },
    );
    assert_eq!(offered(&new.into(), 0, &[]), Err(Reason::RecordConverting));
}

#[test]
fn unhealthy_record_offers_no_variant() {
    let with_health = |health: &str| {
        record("r.example/app:v1", |status| {
            status["conditions"].as_array_mut().unwrap().push(json!({
                "type": "Healthy", "status": health, "reason": "PullFailed", "message": "",
                "lastTransitionTime": NOON,
            }));
        })
    };
    assert_eq!(offered(&with_health("False"), 0, &[]), Err(Reason::RecordUnhealthy));
    assert!(offered(&with_health("True"), 0, &[]).is_ok());
}

#[test]
fn unready_record_tells_waiting_from_failed() {
    for (reason, expected) in [
        ("Pending", Reason::RecordConverting),
        ("Converting", Reason::RecordConverting),
        ("SourceMoved", Reason::RecordConverting),
        ("AlreadyZstd", Reason::RecordNotReady),
        ("NotConvertible", Reason::RecordNotReady),
        ("PushDenied", Reason::RecordFailed),
        ("RegistryUnavailable", Reason::RecordFailed),
        ("ContentMismatch", Reason::RecordFailed),
        ("OfALaterVersion", Reason::RecordFailed),
    ] {
        let record = record("r.example/app:v1", |status| {
            status["conditions"][0]["status"] = json!("False");
            status["conditions"][0]["reason"] = json!(reason);
        });
        assert_eq!(offered(&record, 0, &[]), Err(expected), "{reason}");
    }
}

#[test]
fn template_newer_than_the_look_is_not_fresh() {
    let offered = |record: &RecordView, template: &str| {
        let freshness = Freshness { template_time: Some(template.parse().unwrap()), pulled_always: false };
        record.variant(&policy(&[]), freshness, &unswept(), after(1)).map(|_| ())
    };
    let tagged = record("r.example/app:v1", |_| {});
    assert_eq!(offered(&tagged, "2026-11-23T11:59:59Z"), Ok(()));
    // Kubernetes drops parts of a second: the template may be the later one.
    assert_eq!(offered(&tagged, NOON), Err(Reason::NotFresh));
    assert_eq!(offered(&tagged, "2026-11-23T12:00:01Z"), Err(Reason::NotFresh));
    let pinned = record(&format!("r.example/app@{}", digest("one")), |_| {});
    assert_eq!(offered(&pinned, "2026-11-23T12:00:01Z"), Ok(()));
    let immutable = record("r.example/app:v1", |status| status["source"]["immutable"] = json!(true));
    assert_eq!(offered(&immutable, "2026-11-23T12:00:01Z"), Ok(()));
}

#[test]
fn image_that_is_always_pulled_has_a_bound_of_its_own() {
    let always = Freshness { template_time: None, pulled_always: true };
    let tagged = record("r.example/app:v1", |_| {});
    let offered = |policy: &VariantPolicy, minutes| {
        tagged.variant(policy, always, &unswept(), after(minutes)).map(|_| ())
    };
    assert_eq!(offered(&policy(&[]), 2), Ok(()));
    assert_eq!(offered(&policy(&[]), 3), Err(Reason::RecordStale));
    let immutable = VariantPolicy { immutable_tags: vec!["r.example/*:v1".parse().unwrap()], ..policy(&[]) };
    assert_eq!(offered(&immutable, 24 * 60), Ok(()));
    let longer = VariantPolicy { max_staleness_always: Duration::from_hours(9), ..policy(&[]) };
    assert_eq!(offered(&longer, 16), Err(Reason::RecordStale));
}

#[test]
fn small_images_and_small_gains_are_left_alone() {
    let record = record("r.example/app:v1", |status| {
        status["variant"]["platforms"][0]["sourceBytes"] = json!(1000);
        status["variant"]["platforms"][0]["variantBytes"] = json!(900);
    });
    let offered = |min_size, min_gain| {
        let policy = VariantPolicy { min_size, min_gain, ..policy(&[]) };
        record.variant(&policy, AT_NOON, &unswept(), after(0)).map(|_| ())
    };
    assert_eq!(offered(1000, 10.0), Ok(()));
    assert_eq!(offered(1001, 0.0), Err(Reason::TooSmall));
    assert_eq!(offered(0, 10.1), Err(Reason::GainTooSmall));
}

#[test]
fn replacement_keeps_the_authors_spelling_of_the_name() {
    let variant = |source: &str, reference: &str| {
        let reference = format!("{reference}:v1-zstd-000000000000@{}", digest("variant"));
        record(source, |status| status["variant"]["reference"] = json!(reference))
    };
    let replacement = |record: &RecordView, written: &str| {
        let policy = policy(&["mirror.example"]);
        let found = record.variant(&policy, AT_NOON, &unswept(), after(0)).unwrap();
        found.reference_for(written).split_once('@').unwrap().0.to_owned()
    };
    let own = variant("team/app:v1", "docker.io/team/app");
    assert_eq!(replacement(&own, "team/app:v1"), "team/app:v1-zstd-000000000000");
    assert_eq!(replacement(&own, "docker.io/team/app:v1"), "docker.io/team/app:v1-zstd-000000000000");
    assert_eq!(
        replacement(&own, "index.docker.io/team/app:v1"),
        "index.docker.io/team/app:v1-zstd-000000000000"
    );
    let mirrored = variant("team/app:v1", "mirror.example/app");
    assert_eq!(replacement(&mirrored, "team/app:v1"), "mirror.example/app:v1-zstd-000000000000");
}

#[test]
fn unpinned_variant_is_never_offered() {
    let loose =
        record("r.example/app:v1", |status| status["variant"]["reference"] = json!("r.example/app:z"));
    assert_eq!(offered(&loose, 0, &[]), Err(Reason::RecordNotReady));
}

#[test]
fn unconfirmed_record_grows_stale() {
    assert_eq!(offered(&record("r.example/app:v1", |_| {}), 16, &[]), Err(Reason::RecordStale));
    let pinned = record(&format!("r.example/app@{}", digest("one")), |_| {});
    assert!(offered(&pinned, 24 * 60, &[]).is_ok());
    assert_eq!(offered(&pinned, 24 * 60 + 1, &[]), Err(Reason::RecordStale));
}

#[test]
fn sweep_renews_a_record_of_the_same_digest() {
    let offered = |record: &RecordView, confirmed: &str, template: Option<&str>| {
        let mut sweep = Confirmations::default();
        sweep.insert(ConfirmationKey::new("a", &digest(confirmed)), after(60));
        let template_time = template.map(|time| time.parse().unwrap());
        let freshness = Freshness { template_time, pulled_always: true };
        record.variant(&policy(&[]), freshness, &sweep, after(61)).map(|variant| variant.checked_at(&sweep))
    };
    let tagged = record("r.example/app:v1", |_| {});
    assert_eq!(offered(&tagged, "one", None), Ok(after(60)));
    assert_eq!(
        offered(&tagged, "two", None),
        Err(Reason::RecordStale),
        "the tag moved, the record doesn't say so"
    );
    assert_eq!(offered(&tagged, "one", Some("2026-11-23T12:59:59Z")), Ok(after(60)));
    assert_eq!(offered(&tagged, "one", Some("2026-11-23T13:00:00Z")), Err(Reason::NotFresh));
    // The record's own time may be later.
    let later =
        record("r.example/app:v1", |status| status["source"]["checkedAt"] = json!("2026-11-23T13:00:59Z"));
    assert_eq!(offered(&later, "one", None), Ok("2026-11-23T13:00:59Z".parse().unwrap()));
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

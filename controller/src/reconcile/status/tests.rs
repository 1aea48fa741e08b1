use zstart_convert::Error;
use zstart_convert::PlatformReport;
use zstart_core::Platform;
use zstart_registry::{ErrorKind, Operation, RegistryError};

use super::*;

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn digest(text: &str) -> Digest {
    Digest::sha256_of(text.as_bytes())
}

fn resolved(digest: &Digest) -> ResolvedSource {
    ResolvedSource { digest: digest.clone(), checked_at: Time(now()), immutable: false }
}

fn variant_of(source: &Digest, origin: Origin) -> VerifiedVariant {
    let report = PlatformReport {
        platform: Platform::new("linux", "amd64"),
        source_bytes: 1000,
        variant_bytes: 800,
        layers: 3,
        converted_layers: 2,
    };
    let digest = digest("variant");
    let reference = format!("registry.lab/app:v1-zstd-0123456789ab@{digest}");
    VerifiedVariant {
        reference: reference.parse().unwrap(),
        source: source.clone(),
        image: VariantImage { digest, settings: "zstart/1".to_owned(), platforms: vec![report] },
        origin,
    }
}

fn ready_status(source: &Digest) -> ImageConversionStatus {
    let mut status = ImageConversionStatus::default();
    set_resolved(&mut status, resolved(source), now());
    let took = Duration::from_secs(12);
    set_ready(&mut status, &variant_of(source, Origin::Converted { took }), now());
    status
}

fn failed(operation: Operation, kind: ErrorKind) -> Error {
    Error::Repository(RegistryError::new(operation, "registry.lab/app", kind, "refused"))
}

fn repository_error(kind: ErrorKind) -> ReconcileError {
    ReconcileError::Resolve(failed(Operation::pull("pull manifest", "v1"), kind))
}

/// Errors of a platform that joins, each with its reason.
fn addition_errors() -> Vec<(ReconcileError, &'static str)> {
    let add =
        |source| ReconcileError::AddPlatforms { platforms: vec![Platform::new("linux", "arm64")], source };
    let push = |kind| failed(Operation::push("push manifest", "v1-zstd-0123456789ab"), kind);
    let pull = |kind| failed(Operation::pull("pull blob", "sha256:00"), kind);
    vec![
        (add(push(ErrorKind::Denied)), "PushDenied"),
        (add(push(ErrorKind::TagImmutable)), "VariantConflict"),
        (add(pull(ErrorKind::ContentMismatch)), "ContentMismatch"),
        (add(pull(ErrorKind::NotFound)), "SourceNotFound"),
        (add(pull(ErrorKind::Denied)), "PullDenied"),
        (add(pull(ErrorKind::Unavailable)), "RegistryUnavailable"),
        // A plan may fail before the platforms are known.
        (ReconcileError::convert(pull(ErrorKind::ContentMismatch)), "ContentMismatch"),
    ]
}

fn ready(status: &ImageConversionStatus) -> (&str, &str) {
    let ready = condition(status, READY).unwrap();
    (&ready.status, &ready.reason)
}

#[test]
fn verified_variant_sets_ready_and_sizes() {
    let status = ready_status(&digest("source"));
    assert_eq!(ready(&status), ("True", "Verified"));
    let variant = status.variant.unwrap();
    assert_eq!(variant.duration_milliseconds, 12_000);
    assert_eq!((variant.platforms[0].source_bytes, variant.platforms[0].variant_bytes), (1000, 800));
    assert_eq!(status.summary.unwrap().saved, "20.0%");
}

#[test]
fn variant_is_healthy_as_long_as_there_is_one() {
    let mut status = ready_status(&digest("source"));
    let health = condition(&status, HEALTHY).unwrap().clone();
    assert_eq!((&*health.status, &*health.reason), ("True", "NoFailedPull"));
    let later = now() + Duration::from_mins(1);
    set_ready(&mut status, &variant_of(&digest("source"), Origin::Existing), later);
    assert_eq!(condition(&status, HEALTHY), Some(&health));
    set_resolved(&mut status, resolved(&digest("another")), later);
    assert_eq!(condition(&status, HEALTHY), None);
}

#[test]
fn record_of_an_earlier_version_becomes_healthy() {
    let mut status = ready_status(&digest("source"));
    status.conditions.retain(|condition| condition.type_ != HEALTHY);
    set_unchanged(&mut status, now());
    assert_eq!(condition(&status, HEALTHY).unwrap().status, "True");
}

#[test]
fn waiting_conversion_says_how_many_wait() {
    for (waiting, expected) in
        [(0, ""), (1, "; 1 conversion waited already"), (7, "; 7 conversions waited already")]
    {
        let mut status = ImageConversionStatus::default();
        set_pending(&mut status, &digest("source"), waiting, now());
        let ready = condition(&status, READY).unwrap();
        assert_eq!(ready.message, format!("waiting to convert {}{expected}", digest("source")));
    }
}

#[test]
fn moved_tag_removes_the_variant() {
    let mut status = ready_status(&digest("source"));
    set_resolved(&mut status, resolved(&digest("another")), now());
    assert_eq!(ready(&status), ("False", "SourceMoved"));
    assert_eq!((status.variant, status.summary), (None, None));
}

#[test]
fn unavailable_registry_keeps_the_variant_ready() {
    let mut status = ready_status(&digest("source"));
    let checked = status.source.clone();
    set_failed(&mut status, &repository_error(ErrorKind::Unavailable), now());
    assert_eq!(ready(&status), ("True", "Verified"));
    let resolved = condition(&status, RESOLVED).unwrap();
    assert_eq!((resolved.status.as_str(), resolved.reason.as_str()), ("False", "RegistryUnavailable"));
    assert_eq!(status.source, checked, "staleness counts from the last successful lookup");
}

#[test]
fn missing_or_denied_source_removes_the_variant() {
    for (kind, reason) in [(ErrorKind::NotFound, "SourceNotFound"), (ErrorKind::Denied, "PullDenied")] {
        let mut status = ready_status(&digest("source"));
        set_failed(&mut status, &repository_error(kind), now());
        assert_eq!(ready(&status), ("False", reason));
        assert_eq!(status.variant, None);
        let message = &condition(&status, READY).unwrap().message;
        assert!(message.contains("registry.lab/app") && message.contains("refused"), "{message}");
    }
}

#[test]
fn failed_addition_of_a_platform_keeps_the_variant() {
    for (error, reason) in addition_errors() {
        let mut status = ready_status(&digest("source"));
        let served = status.variant.clone();
        set_converting(&mut status, &digest("source"), now());
        set_failed(&mut status, &error, now());
        assert_eq!(ready(&status), ("True", "Verified"), "{error}");
        assert_eq!(status.variant, served, "{error}");
        let converted = condition(&status, CONVERTED).unwrap();
        assert_eq!((&*converted.status, &*converted.reason), ("False", reason));
        assert_eq!(converted.message, error.to_string());
        if matches!(error, ReconcileError::AddPlatforms { .. }) {
            assert!(converted.message.starts_with("failed to add linux/arm64 to the variant: "), "{error}");
        }
        // The node of that platform left.
        set_unchanged(&mut status, now());
        let converted = condition(&status, CONVERTED).unwrap();
        assert_eq!((&*converted.status, &*converted.reason), ("True", "Converted"), "{error}");
    }
}

#[test]
fn variant_of_another_digest_is_not_kept_by_an_error() {
    let mut status = ready_status(&digest("source"));
    set_resolved(&mut status, resolved(&digest("another")), now());
    for (error, reason) in addition_errors() {
        set_failed(&mut status, &error, now());
        assert_eq!((ready(&status), &status.variant), (("False", reason), &None));
    }
    let mut status = ready_status(&digest("source"));
    let (from, to) = (digest("source"), digest("another"));
    let moved = Error::SourceMoved { reference: "registry.lab/app:v1".to_owned(), from, to };
    set_failed(&mut status, &ReconcileError::convert(moved), now());
    assert_eq!(ready(&status), ("False", "SourceMoved"));
}

#[test]
fn variant_that_the_registry_lost_is_not_kept_by_an_error() {
    let mut status = ready_status(&digest("source"));
    remove_variant(&mut status);
    let (error, reason) = addition_errors().remove(0);
    set_failed(&mut status, &error, now());
    assert_eq!(ready(&status), ("False", reason));
}

#[test]
fn restart_keeps_the_recorded_conversion_duration() {
    let source = digest("source");
    let mut status = ready_status(&source);
    set_ready(&mut status, &variant_of(&source, Origin::Existing), now());
    assert!(condition(&status, READY).unwrap().message.starts_with("every layer equals its diff_id"));
    assert_eq!(status.summary.unwrap().took, "12.0s");
    assert_eq!(status.variant.unwrap().duration_milliseconds, 12_000);
}

#[test]
fn foreign_variant_is_reused_without_a_duration() {
    let source = digest("source");
    let mut status = ImageConversionStatus::default();
    set_resolved(&mut status, resolved(&source), now());
    set_ready(&mut status, &variant_of(&source, Origin::Existing), now());
    assert_eq!(condition(&status, CONVERTED).unwrap().reason, "Reused");
    let message = &condition(&status, READY).unwrap().message;
    assert!(
        message.starts_with("the variant has the source's config"),
        "the message must not claim more than was checked: {message}"
    );
    assert_eq!(status.summary.unwrap().took, "");
}

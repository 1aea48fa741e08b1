use super::*;
use crate::fixture::{key_pair, key_pair_for_years, secret};
use zstart_admission::snapshot::Snapshot;

#[test]
fn secret_with_matching_key_pair_is_loaded() {
    let (certificate, key) = key_pair();
    let loaded = parse_secret(&secret(&certificate, &key)).unwrap();
    assert_eq!(loaded.key.cert.len(), 1);
    assert!(loaded.not_before < loaded.not_after);
}

#[test]
fn invalid_secret_error_names_the_field() {
    let ((certificate, key), (_, other_key)) = (key_pair(), key_pair());
    let cases = [
        (secret("", &key), "tls.crt"),
        (secret(&certificate, ""), "tls.key"),
        (secret("nonsense", &key), "tls.crt"),
        (secret(&certificate, "nonsense"), "tls.key"),
        (secret(&certificate, &other_key), "tls.key of the Secret with tls.crt"),
        (Secret::default(), "tls.crt"),
    ];
    for (secret, part) in cases {
        let error = parse_secret(&secret).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn invalid_secret_keeps_the_current_certificate() {
    let certificate = Certificate::default();
    let metrics = Metrics::new(Arc::new(Snapshot::default()), zstart_admission::fixture::ages());
    let (text, key) = key_pair();
    certificate.update(&secret(&text, "nonsense"), "tls", &metrics);
    assert!(!certificate.is_loaded());
    certificate.update(&secret(&text, &key), "tls", &metrics);
    certificate.update(&Secret::default(), "tls", &metrics);
    assert!(certificate.is_loaded());
}

#[test]
fn certificate_is_usable_within_its_validity_only() {
    let certificate = Certificate::default();
    let metrics = Metrics::new(Arc::new(Snapshot::default()), zstart_admission::fixture::ages());
    let at = |text: &str| certificate.problem(text.parse().unwrap());
    assert_eq!(at("2025-06-01T00:00:00Z").unwrap(), "no serving certificate yet");
    let (text, key) = key_pair_for_years(2025, 2026);
    certificate.update(&secret(&text, &key), "tls", &metrics);
    let early = "the serving certificate isn't valid before 2025-01-01T00:00:00Z";
    assert_eq!(at("2024-12-31T23:59:59Z").as_deref(), Some(early));
    assert_eq!(at("2025-01-01T00:00:00Z"), None);
    assert_eq!(at("2026-01-01T00:00:00Z"), None);
    let late = "the serving certificate expired at 2026-01-01T00:00:00Z";
    assert_eq!(at("2026-01-01T00:00:01Z").as_deref(), Some(late));
}

#[test]
fn certificate_without_expiry_is_usable() {
    let certificate = Certificate::default();
    let metrics = Metrics::new(Arc::new(Snapshot::default()), zstart_admission::fixture::ages());
    let (text, key) = key_pair_for_years(2025, 10_000);
    certificate.update(&secret(&text, &key), "tls", &metrics);
    assert_eq!(certificate.problem(Timestamp::now()), None);
}

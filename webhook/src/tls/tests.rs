use super::*;
use crate::fixture::{key_pair, secret};
use zstart_admission::snapshot::Snapshot;

#[test]
fn secret_with_matching_key_pair_is_loaded() {
    let (certificate, key) = key_pair();
    let loaded = parse_secret(&secret(&certificate, &key)).unwrap();
    assert_eq!(loaded.key.cert.len(), 1);
    assert!(loaded.not_after > 0);
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

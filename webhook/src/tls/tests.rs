use super::*;
use crate::fixture::{key_pair, secret};
use crate::snapshot::Snapshot;

#[test]
fn a_secret_with_a_matching_pair_serves() {
    let (certificate, key) = key_pair();
    let loaded = parse_secret(&secret(&certificate, &key)).unwrap();
    assert_eq!(loaded.key.cert.len(), 1);
    assert!(loaded.not_after > 0);
}

#[test]
fn what_is_wrong_with_a_secret_is_named() {
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
fn a_broken_secret_leaves_the_certificate_that_was_there_in_use() {
    let certificate = Certificate::default();
    let metrics = Metrics::new(Arc::new(Snapshot::default()));
    let (text, key) = key_pair();
    certificate.update(&secret(&text, "nonsense"), "tls", &metrics);
    assert!(!certificate.is_loaded());
    certificate.update(&secret(&text, &key), "tls", &metrics);
    certificate.update(&Secret::default(), "tls", &metrics);
    assert!(certificate.is_loaded());
}

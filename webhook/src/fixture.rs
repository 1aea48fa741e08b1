//! Certificates for tests.

use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};

/// Creates a certificate for `zstart-webhook.zstart.svc`, and its key, both as PEM.
pub(crate) fn key_pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["zstart-webhook.zstart.svc".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// Creates a key pair like [`key_pair`] that is valid from the start of a year to the start of another. The year
/// 10,000 creates a certificate that never expires.
pub(crate) fn key_pair_for_years(from: i32, to: i32) -> (String, String) {
    let mut parameters = CertificateParams::new(vec!["zstart-webhook.zstart.svc".to_owned()]).unwrap();
    parameters.not_before = date_time_ymd(from, 1, 1);
    // RFC 5280, section 4.1.2.5: 99991231235959Z.
    parameters.not_after = match to {
        10_000 => date_time_ymd(9999, 12, 31) + Duration::from_secs(24 * 60 * 60 - 1),
        to => date_time_ymd(to, 1, 1),
    };
    let key = KeyPair::generate().unwrap();
    (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// Serving Secret.
pub(crate) fn secret(certificate: &str, key: &str) -> Secret {
    let field = |name: &str, text: &str| (name.to_owned(), ByteString(text.as_bytes().to_vec()));
    let data = [field("tls.crt", certificate), field("tls.key", key)].into();
    Secret { data: Some(data), ..Secret::default() }
}

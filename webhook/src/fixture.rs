//! Certificates for tests.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

/// Creates a certificate for `zstart-webhook.zstart.svc`, and its key, both as PEM.
pub(crate) fn key_pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["zstart-webhook.zstart.svc".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// Serving Secret.
pub(crate) fn secret(certificate: &str, key: &str) -> Secret {
    let field = |name: &str, text: &str| (name.to_owned(), ByteString(text.as_bytes().to_vec()));
    let data = [field("tls.crt", certificate), field("tls.key", key)].into();
    Secret { data: Some(data), ..Secret::default() }
}

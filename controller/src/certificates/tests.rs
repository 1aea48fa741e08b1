//! Settings, wait times, and secrecy of the private keys.

use jiff::SignedDuration;
use serde_json::json;

use super::certificate::{Certificate, CertificateReadError};
use super::signer::Signer;
use super::*;

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

#[test]
fn default_settings_match_the_chart() {
    let settings: CertificateSettings = serde_json::from_value(json!({})).unwrap();
    let expected = json!({
        "configuration": "zstart",
        "service": "zstart-webhook",
        "servingSecret": "zstart-webhook-tls",
        "caSecret": "zstart-webhook-ca",
    });
    assert_eq!(serde_json::to_value(settings).unwrap(), expected);
}

#[test]
fn unknown_setting_is_rejected() {
    let settings: Result<CertificateSettings, _> = serde_json::from_value(json!({"caSecrets": "typo"}));
    assert!(settings.unwrap_err().to_string().contains("caSecrets"));
}

#[test]
fn wait_time_is_capped_at_one_hour() {
    let wait = |seconds| wait_time(now(), now() + SignedDuration::from_secs(seconds));
    assert_eq!(wait(-5), Duration::ZERO);
    assert_eq!(wait(90), Duration::from_secs(90));
    assert_eq!(wait(1_000_000), MAX_WAIT);
}

#[test]
fn invalid_dns_name_is_named_in_the_error() {
    let authority = issue::issue_authority(now()).unwrap();
    let signer = Signer::read(authority.certificate.as_bytes(), authority.key.as_bytes()).unwrap();
    let names = BTreeSet::from(["wébhook.zstart-system.svc".to_owned()]);
    let Err(error) = issue::issue_serving(now(), &signer, &names) else {
        panic!("the certificate was issued")
    };
    assert!(matches!(error, IssueError::Names { .. }));
    assert!(error.to_string().contains("wébhook.zstart-system.svc"));
}

#[test]
fn private_key_never_appears_in_debug_or_errors() {
    let authority = issue::issue_authority(now()).unwrap();
    let signer = Signer::read(authority.certificate.as_bytes(), authority.key.as_bytes()).unwrap();
    // The second line of the PEM is the first of the key.
    let secret = authority.key.lines().nth(1).unwrap();
    assert!(!format!("{signer:?}").contains(secret));

    let broken = authority.key.replace("-----END PRIVATE KEY-----", "");
    let error = Signer::read(authority.certificate.as_bytes(), broken.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "failed to read the private key ca.key of the Secret");
    // The key is stored in place of the certificate.
    let error = Signer::read(authority.key.as_bytes(), authority.key.as_bytes()).unwrap_err();
    assert!(!format!("{error:?}").contains(secret), "{error:?}");
}

#[test]
fn issued_certificate_reads_back_unchanged() {
    let made = issue::issue_authority(now()).unwrap();
    let read = Certificate::read_first(made.certificate.as_bytes()).unwrap();
    assert_eq!(read.not_before(), now() - issue::BACKDATE);
    assert_eq!(read.not_after(), now() + issue::AUTHORITY_LIFETIME);
    assert!(read.is_authority());
    assert!(read.is_signed_by(&read));
    assert_eq!(Certificate::read_all(read.to_pem().as_bytes()).unwrap(), [read]);
}

#[test]
fn missing_mislabelled_and_broken_certificates_differ() {
    assert!(matches!(Certificate::read_all(b"hello"), Err(CertificateReadError::Empty)));
    let key = issue::issue_authority(now()).unwrap().key;
    assert!(matches!(Certificate::read_all(key.as_bytes()), Err(CertificateReadError::Label { .. })));
    let garbage = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(Certificate::read_all(garbage), Err(CertificateReadError::Der(_))));
}

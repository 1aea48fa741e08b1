//! The keeper's own small parts: its settings, its rests, and what it never prints.

use jiff::SignedDuration;
use serde_json::json;

use super::certificate::{Certificate, CertificateReadError};
use super::secret_data::Signer;
use super::*;

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

#[test]
fn settings_default_to_what_the_chart_installs() {
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
fn an_unknown_setting_is_refused() {
    let settings: Result<CertificateSettings, _> = serde_json::from_value(json!({"caSecrets": "typo"}));
    assert!(settings.unwrap_err().to_string().contains("caSecrets"));
}

#[test]
fn a_rest_ends_when_something_falls_due_and_is_never_longer_than_an_hour() {
    let rest = |seconds| rest(now(), now() + SignedDuration::from_secs(seconds));
    assert_eq!(rest(-5), Duration::ZERO);
    assert_eq!(rest(90), Duration::from_secs(90));
    assert_eq!(rest(1_000_000), LONGEST_REST);
}

#[test]
fn a_name_that_no_certificate_can_have_is_an_error_that_names_it() {
    let authority = issue::make_authority(now()).unwrap();
    let signer = Signer::read(authority.certificate.as_bytes(), authority.key.as_bytes()).unwrap();
    let names = BTreeSet::from(["wébhook.zstart-system.svc".to_owned()]);
    let Err(error) = issue::make_serving(now(), &signer, &names) else { panic!("it was made") };
    assert!(matches!(error, IssueError::Names { .. }));
    assert!(error.to_string().contains("wébhook.zstart-system.svc"));
}

#[test]
fn neither_the_debug_form_nor_an_error_shows_a_key() {
    let authority = issue::make_authority(now()).unwrap();
    let signer = Signer::read(authority.certificate.as_bytes(), authority.key.as_bytes()).unwrap();
    // The second line of the PEM is the first of the key.
    let secret = authority.key.lines().nth(1).unwrap();
    assert!(!format!("{signer:?}").contains(secret));

    let broken = authority.key.replace("-----END PRIVATE KEY-----", "");
    let error = Signer::read(authority.certificate.as_bytes(), broken.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "failed to read the private key ca.key of the Secret");
    // Certificate and key in the wrong place.
    let error = Signer::read(authority.key.as_bytes(), authority.key.as_bytes()).unwrap_err();
    assert!(!format!("{error:?}").contains(secret), "{error:?}");
}

#[test]
fn a_certificate_reads_back_as_it_was_made() {
    let made = issue::make_authority(now()).unwrap();
    let read = Certificate::read_first(made.certificate.as_bytes()).unwrap();
    assert_eq!(read.not_before(), now() - issue::BACKDATE);
    assert_eq!(read.not_after(), now() + issue::AUTHORITY_LIFE);
    assert!(read.is_authority());
    assert!(read.is_signed_by(&read));
    assert_eq!(Certificate::read_all(read.to_pem().as_bytes()).unwrap(), [read]);
}

#[test]
fn text_that_is_no_certificate_is_told_apart_from_a_broken_one() {
    assert!(matches!(Certificate::read_all(b"hello"), Err(CertificateReadError::Empty)));
    let key = issue::make_authority(now()).unwrap().key;
    assert!(matches!(Certificate::read_all(key.as_bytes()), Err(CertificateReadError::Label { .. })));
    let garbage = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(Certificate::read_all(garbage), Err(CertificateReadError::Der(_))));
}

//! Steps at fixed times, with real certificates.

use k8s_openapi::ByteString;

use super::*;
use crate::certificates::issue::{AUTHORITY_LIFETIME, SERVING_LIFETIME, issue_authority, issue_serving};
use crate::certificates::secret_data::{
    CA_CERTIFICATE, CA_KEY, Data, PREVIOUS, authority_data, serving_data,
};

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn start() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn names(namespace: &str) -> BTreeSet<String> {
    crate::certificates::CertificateSettings::default().dns_names(namespace)
}

fn ours() -> BTreeSet<String> {
    names("zstart-system")
}

/// The stored objects: data of the Secrets, the bundle of one webhook.
#[derive(Clone, Default)]
struct World {
    authority: Option<Data>,
    serving: Option<Data>,
    bundle: Option<Vec<u8>>,
}

impl World {
    /// The objects after a first rotation at `now`.
    fn settled(now: Timestamp) -> Self {
        let mut world = Self { bundle: Some(Vec::new()), ..Self::default() };
        world.run(now);
        world
    }

    fn state(&self) -> CurrentState {
        CurrentState {
            bundles: self
                .bundle
                .clone()
                .map(|bundle| vec![WebhookBundle { webhook: "pods.zstart.dev".to_owned(), bundle }]),
            serving: self.serving.as_ref().map(ServingCertificate::read),
            authority: self.authority.as_ref().map(Authority::read),
        }
    }

    /// Takes every step that is due at `now`. Returns the steps and the time of the next one.
    fn run(&mut self, now: Timestamp) -> (Vec<String>, Timestamp) {
        let mut done = Vec::new();
        loop {
            assert!(done.len() < 10, "the rotation does not end: {done:?}");
            let state = self.state();
            match next_step(now, &state, &ours()) {
                Step::IssueAuthority(reason) => {
                    done.push(format!("authority: {reason}"));
                    let new = issue_authority(now).unwrap();
                    self.authority = Some(authority_data(&new, state.authority.as_ref(), now));
                }
                Step::WriteBundle { bundle } => {
                    done.push(format!("bundle of {}", bundle.matches("BEGIN CERTIFICATE").count()));
                    self.bundle = Some(bundle.into_bytes());
                }
                Step::IssueServing { signer, reason } => {
                    done.push(format!("serving: {reason}"));
                    self.serving = Some(serving_data(&issue_serving(now, signer, &ours()).unwrap(), signer));
                }
                Step::WaitUntil(until) => return (done, until),
            }
        }
    }

    fn set(data: &mut Option<Data>, key: &str, value: &str) {
        data.as_mut().unwrap().insert(key.to_owned(), ByteString(value.as_bytes().to_vec()));
    }
}

#[test]
fn authority_is_issued_then_trusted_then_used() {
    let mut world = World { bundle: Some(Vec::new()), ..World::default() };
    let (done, until) = world.run(start());
    assert_eq!(done, ["authority: the Secret is missing", "bundle of 1", "serving: the Secret is missing"]);
    // Two thirds of the lifetime: 60 days, less a third of the 5 minutes of backdating.
    assert_eq!(until, start() + DAY * 60 - SignedDuration::from_secs(100));
    assert_eq!(world.run(until - SignedDuration::from_secs(1)), (vec![], until));
}

#[test]
fn certificates_are_issued_without_a_configuration() {
    let mut world = World::default();
    let (done, _) = world.run(start());
    assert_eq!(done, ["authority: the Secret is missing", "serving: the Secret is missing"]);
    assert!(world.bundle.is_none());
}

#[test]
fn serving_certificate_is_renewed_at_two_thirds() {
    let mut world = World::settled(start());
    let before = world.clone();
    let (done, until) = world.run(start() + DAY * 60);
    assert_eq!(done, ["serving: two thirds of the lifetime have passed"]);
    assert!(until > start() + DAY * 119);
    assert_eq!(world.authority, before.authority, "the authority is unchanged");
    assert_ne!(world.serving, before.serving);
}

#[test]
fn expired_serving_certificate_is_replaced() {
    let (done, _) = World::settled(start()).run(start() + SERVING_LIFETIME);
    assert_eq!(done, ["serving: the certificate expired"]);
}

#[test]
fn certificate_not_yet_valid_is_replaced() {
    let (done, _) = World::settled(start() + DAY).run(start());
    let expected = [
        "authority: the certificate is not valid yet",
        "bundle of 1",
        "serving: the certificate is not valid yet",
    ];
    assert_eq!(done, expected);
}

#[test]
fn backdating_tolerates_a_clock_five_minutes_slow() {
    let (done, _) = World::settled(start()).run(start() - BACKDATE);
    assert_eq!(done, [] as [&str; 0]);
}

#[test]
fn renewed_authority_signs_after_the_propagation_delay() {
    let mut world = World::settled(start());
    let renewal = start() + AUTHORITY_LIFETIME / 3 * 2;
    // A day earlier, so that only the authority is due at `renewal`.
    world.run(renewal - DAY);
    let (old_bundle, old_serving) = (world.bundle.clone().unwrap(), world.serving.clone());

    let (done, until) = world.run(renewal);
    assert_eq!(done, ["authority: two thirds of the lifetime have passed", "bundle of 2"]);
    assert_eq!(world.serving, old_serving);
    assert_eq!(until, renewal + PROPAGATION_DELAY);
    assert!(world.bundle.as_ref().unwrap().ends_with(&old_bundle), "the new authority precedes the old one");

    let (done, _) = world.run(until);
    assert_eq!(done, ["serving: a new authority is trusted"]);
    let (done, _) = world.run(until + DAY);
    assert_eq!(done, [] as [&str; 0], "both authorities are trusted");
}

#[test]
fn expired_authority_leaves_the_bundle() {
    let mut world = World::settled(start());
    world.run(start() + AUTHORITY_LIFETIME / 3 * 2);
    let end = start() + AUTHORITY_LIFETIME;
    world.run(end - SignedDuration::from_secs(1));
    assert_eq!(world.bundle.as_ref().unwrap().windows(5).filter(|part| part == b"BEGIN").count(), 2);
    let (_, until) = world.run(end - SignedDuration::from_secs(1));
    assert_eq!(until, end);
    assert_eq!(world.run(end).0, ["bundle of 1"]);
}

#[test]
fn expired_authority_is_replaced_and_untrusted() {
    let (done, _) = World::settled(start()).run(start() + AUTHORITY_LIFETIME);
    assert_eq!(
        done,
        ["authority: the certificate expired", "bundle of 1", "serving: the certificate expired"]
    );
}

#[test]
fn deleted_authority_is_no_longer_trusted() {
    let mut world = World::settled(start());
    world.authority = None;
    let (done, _) = world.run(start() + DAY);
    assert_eq!(
        done,
        [
            "authority: the Secret is missing",
            "bundle of 1",
            "serving: no trusted authority signed the certificate"
        ]
    );
}

#[test]
fn authority_with_a_lost_key_stays_trusted() {
    for (key, value) in [(CA_KEY, "no key"), (CA_KEY, ""), (CA_KEY, &issue_authority(start()).unwrap().key)] {
        let mut world = World::settled(start());
        World::set(&mut world.authority, key, value);
        let (done, until) = world.run(start() + DAY);
        assert_eq!(done, ["authority: the Secret is unusable", "bundle of 2"]);
        assert_eq!(until, start() + DAY + PROPAGATION_DELAY);
    }
}

#[test]
fn unreadable_authority_is_replaced_at_once() {
    for value in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let mut world = World::settled(start());
        World::set(&mut world.authority, CA_CERTIFICATE, value);
        let (done, _) = world.run(start() + DAY);
        let expected = [
            "authority: the Secret is unusable",
            "bundle of 1",
            "serving: no trusted authority signed the certificate",
        ];
        assert_eq!(done, expected, "{value:?}");
    }
}

#[test]
fn serving_certificate_cannot_act_as_authority() {
    let mut world = World::settled(start());
    let serving = world.serving.clone().unwrap();
    for (from, to) in [("tls.crt", CA_CERTIFICATE), ("tls.key", CA_KEY)] {
        World::set(&mut world.authority, to, str::from_utf8(&serving[from].0).unwrap());
    }
    let (done, _) = world.run(start() + DAY);
    assert_eq!(done[0], "authority: the Secret is unusable");
    assert_eq!(done[1], "bundle of 1");
}

#[test]
fn non_authority_among_previous_is_not_trusted() {
    let mut world = World::settled(start());
    let serving = world.serving.clone().unwrap();
    World::set(&mut world.authority, PREVIOUS, str::from_utf8(&serving["tls.crt"].0).unwrap());
    assert_eq!(world.run(start() + DAY).0, [] as [&str; 0]);
}

#[test]
fn unreadable_serving_secret_is_replaced() {
    let other = issue_authority(start()).unwrap();
    for (key, value) in [("tls.crt", ""), ("tls.key", "no key"), ("tls.key", &*other.key)] {
        let mut world = World::settled(start());
        World::set(&mut world.serving, key, value);
        assert_eq!(world.run(start() + DAY).0, ["serving: the Secret is unusable"], "{key} {value:?}");
    }
    let mut world = World::settled(start());
    world.serving = Some(Data::new());
    assert_eq!(world.run(start() + DAY).0, ["serving: the Secret is unusable"]);
}

#[test]
fn serving_certificate_for_other_names_is_replaced() {
    let world = World::settled(start());
    let state = world.state();
    let step = next_step(start(), &state, &names("elsewhere"));
    assert!(matches!(step, Step::IssueServing { reason: IssueReason::Names, .. }), "{step:?}");
}

#[test]
fn serving_certificate_of_unknown_authority_is_replaced() {
    let mut world = World::settled(start());
    world.serving = World::settled(start()).serving;
    assert_eq!(world.run(start()).0, ["serving: no trusted authority signed the certificate"]);
}

#[test]
fn changed_bundle_is_written_again() {
    let mut world = World::settled(start());
    world.bundle = World::settled(start()).bundle;
    assert_eq!(world.run(start()).0, ["bundle of 1"]);
    world.bundle = Some(Vec::new());
    assert_eq!(world.run(start()).0, ["bundle of 1"]);
}

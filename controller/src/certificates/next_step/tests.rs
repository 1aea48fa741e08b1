//! What is due, at fixed times, with real certificates.

use k8s_openapi::ByteString;

use super::*;
use crate::certificates::issue::{AUTHORITY_LIFE, SERVING_LIFE, make_authority, make_serving};
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

/// The cluster's side: Secrets as data, the bundle of one webhook.
#[derive(Clone, Default)]
struct World {
    authority: Option<Data>,
    serving: Option<Data>,
    bundle: Option<Vec<u8>>,
}

impl World {
    /// Everything as it stands after a first look at that time.
    fn settled(now: Timestamp) -> Self {
        let mut world = Self { bundle: Some(Vec::new()), ..Self::default() };
        world.run(now);
        world
    }

    fn stored(&self) -> Stored {
        Stored {
            bundles: self
                .bundle
                .clone()
                .map(|bundle| vec![WebhookBundle { webhook: "pods.zstart.dev".to_owned(), bundle }]),
            serving: self.serving.as_ref().map(Serving::read),
            authority: self.authority.as_ref().map(Authority::read),
        }
    }

    /// Takes each step that is due at that time; what was done and when the next falls due.
    fn run(&mut self, now: Timestamp) -> (Vec<String>, Timestamp) {
        let mut done = Vec::new();
        loop {
            assert!(done.len() < 10, "it never comes to rest: {done:?}");
            let stored = self.stored();
            match due(now, &stored, &ours()) {
                Step::MakeAuthority(reason) => {
                    done.push(format!("authority: {reason}"));
                    let new = make_authority(now).unwrap();
                    self.authority = Some(authority_data(&new, stored.authority.as_ref(), now));
                }
                Step::WriteBundle { bundle } => {
                    done.push(format!("bundle of {}", bundle.matches("BEGIN CERTIFICATE").count()));
                    self.bundle = Some(bundle.into_bytes());
                }
                Step::MakeServing { signer, reason } => {
                    done.push(format!("serving: {reason}"));
                    self.serving = Some(serving_data(&make_serving(now, signer, &ours()).unwrap(), signer));
                }
                Step::Rest { until } => return (done, until),
            }
        }
    }

    fn set(data: &mut Option<Data>, key: &str, value: &str) {
        data.as_mut().unwrap().insert(key.to_owned(), ByteString(value.as_bytes().to_vec()));
    }
}

#[test]
fn from_nothing_the_authority_is_made_then_trusted_then_used() {
    let mut world = World { bundle: Some(Vec::new()), ..World::default() };
    let (done, until) = world.run(start());
    assert_eq!(done, ["authority: there is none", "bundle of 1", "serving: there is none"]);
    // The serving certificate's two thirds: 60 days, less a third of the 5 minutes it is backdated by.
    assert_eq!(until, start() + DAY * 60 - SignedDuration::from_secs(100));
    assert_eq!(world.run(until - SignedDuration::from_secs(1)), (vec![], until));
}

#[test]
fn without_a_configuration_the_certificates_are_made_all_the_same() {
    let mut world = World::default();
    let (done, _) = world.run(start());
    assert_eq!(done, ["authority: there is none", "serving: there is none"]);
    assert!(world.bundle.is_none());
}

#[test]
fn the_serving_certificate_is_renewed_at_two_thirds_of_its_life() {
    let mut world = World::settled(start());
    let before = world.clone();
    let (done, until) = world.run(start() + DAY * 60);
    assert_eq!(done, ["serving: two thirds of its life are over"]);
    assert!(until > start() + DAY * 119);
    assert_eq!(world.authority, before.authority, "the authority stays");
    assert_ne!(world.serving, before.serving);
}

#[test]
fn an_expired_serving_certificate_is_replaced() {
    let (done, _) = World::settled(start()).run(start() + SERVING_LIFE);
    assert_eq!(done, ["serving: it expired"]);
}

#[test]
fn a_certificate_from_a_clock_that_ran_fast_is_replaced() {
    let (done, _) = World::settled(start() + DAY).run(start());
    let expected = ["authority: it isn't valid yet", "bundle of 1", "serving: it isn't valid yet"];
    assert_eq!(done, expected);
}

#[test]
fn a_clock_that_is_five_minutes_behind_takes_what_was_made() {
    let (done, _) = World::settled(start()).run(start() - BACKDATE);
    assert_eq!(done, [] as [&str; 0]);
}

#[test]
fn a_renewed_authority_stands_next_to_the_old_one_and_signs_only_when_it_is_known_everywhere() {
    let mut world = World::settled(start());
    let renewal = start() + AUTHORITY_LIFE / 3 * 2;
    // A day before, so that the serving certificate isn't due as well.
    world.run(renewal - DAY);
    let (old_bundle, old_serving) = (world.bundle.clone().unwrap(), world.serving.clone());

    let (done, until) = world.run(renewal);
    assert_eq!(done, ["authority: two thirds of its life are over", "bundle of 2"]);
    assert_eq!(world.serving, old_serving);
    assert_eq!(until, renewal + SETTLE);
    assert!(world.bundle.as_ref().unwrap().ends_with(&old_bundle), "the new one first, then the old one");

    let (done, _) = world.run(until);
    assert_eq!(done, ["serving: there is a new authority"]);
    let (done, _) = world.run(until + DAY);
    assert_eq!(done, [] as [&str; 0], "both stay trusted");
}

#[test]
fn an_old_authority_leaves_the_bundle_when_it_expires() {
    let mut world = World::settled(start());
    world.run(start() + AUTHORITY_LIFE / 3 * 2);
    let end = start() + AUTHORITY_LIFE;
    world.run(end - SignedDuration::from_secs(1));
    assert_eq!(world.bundle.as_ref().unwrap().windows(5).filter(|part| part == b"BEGIN").count(), 2);
    let (_, until) = world.run(end - SignedDuration::from_secs(1));
    assert_eq!(until, end);
    assert_eq!(world.run(end).0, ["bundle of 1"]);
}

#[test]
fn an_authority_that_expired_is_not_kept() {
    let (done, _) = World::settled(start()).run(start() + AUTHORITY_LIFE);
    assert_eq!(done, ["authority: it expired", "bundle of 1", "serving: it expired"]);
}

#[test]
fn a_deleted_authority_is_not_trusted_any_more() {
    let mut world = World::settled(start());
    world.authority = None;
    let (done, _) = world.run(start() + DAY);
    assert_eq!(done, ["authority: there is none", "bundle of 1", "serving: no trusted authority signed it"]);
}

#[test]
fn an_authority_whose_key_is_lost_stays_trusted_while_it_is_replaced() {
    for (key, value) in [(CA_KEY, "no key"), (CA_KEY, ""), (CA_KEY, &make_authority(start()).unwrap().key)] {
        let mut world = World::settled(start());
        World::set(&mut world.authority, key, value);
        let (done, until) = world.run(start() + DAY);
        assert_eq!(done, ["authority: what is there can't be used", "bundle of 2"]);
        assert_eq!(until, start() + DAY + SETTLE);
    }
}

#[test]
fn an_unreadable_authority_is_replaced_at_once() {
    for value in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let mut world = World::settled(start());
        World::set(&mut world.authority, CA_CERTIFICATE, value);
        let (done, _) = world.run(start() + DAY);
        let expected = [
            "authority: what is there can't be used",
            "bundle of 1",
            "serving: no trusted authority signed it",
        ];
        assert_eq!(done, expected, "{value:?}");
    }
}

#[test]
fn a_serving_certificate_cannot_pose_as_the_authority() {
    let mut world = World::settled(start());
    let serving = world.serving.clone().unwrap();
    for (from, to) in [("tls.crt", CA_CERTIFICATE), ("tls.key", CA_KEY)] {
        World::set(&mut world.authority, to, str::from_utf8(&serving[from].0).unwrap());
    }
    let (done, _) = world.run(start() + DAY);
    assert_eq!(done[0], "authority: what is there can't be used");
    assert_eq!(done[1], "bundle of 1");
}

#[test]
fn what_stands_among_the_earlier_authorities_and_is_none_is_not_trusted() {
    let mut world = World::settled(start());
    let serving = world.serving.clone().unwrap();
    World::set(&mut world.authority, PREVIOUS, str::from_utf8(&serving["tls.crt"].0).unwrap());
    assert_eq!(world.run(start() + DAY).0, [] as [&str; 0]);
}

#[test]
fn an_unreadable_serving_secret_is_replaced() {
    let other = make_authority(start()).unwrap();
    for (key, value) in [("tls.crt", ""), ("tls.key", "no key"), ("tls.key", &*other.key)] {
        let mut world = World::settled(start());
        World::set(&mut world.serving, key, value);
        assert_eq!(world.run(start() + DAY).0, ["serving: what is there can't be used"], "{key} {value:?}");
    }
    let mut world = World::settled(start());
    world.serving = Some(Data::new());
    assert_eq!(world.run(start() + DAY).0, ["serving: what is there can't be used"]);
}

#[test]
fn a_serving_certificate_for_another_namespace_is_replaced() {
    let world = World::settled(start());
    let stored = world.stored();
    let step = due(start(), &stored, &names("elsewhere"));
    assert!(matches!(step, Step::MakeServing { reason: Reason::Names, .. }), "{step:?}");
}

#[test]
fn a_serving_certificate_of_a_stranger_is_replaced() {
    let mut world = World::settled(start());
    world.serving = World::settled(start()).serving;
    assert_eq!(world.run(start()).0, ["serving: no trusted authority signed it"]);
}

#[test]
fn a_changed_bundle_is_written_again() {
    let mut world = World::settled(start());
    world.bundle = World::settled(start()).bundle;
    assert_eq!(world.run(start()).0, ["bundle of 1"]);
    world.bundle = Some(Vec::new());
    assert_eq!(world.run(start()).0, ["bundle of 1"]);
}

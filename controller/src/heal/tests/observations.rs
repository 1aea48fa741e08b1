//! The order in which the kubelet reports.

use kube::runtime::watcher::Event;
use zstart_core::pull_failure::{ImageFault, PullFailure};

use super::*;
use crate::heal::decide::Case;
use crate::heal::patients::{Patients, Restoration, Work};
use crate::heal::pod::Restored;

const MISSING: PullFailure = PullFailure::Image(ImageFault::Missing);

fn apply(patients: &mut Patients, pod: &Pod) -> bool {
    patients.apply(&Event::Apply(pod.clone()))
}

/// Cause that the next work is about.
fn next_cause(patients: &mut Patients) -> Option<PullFailure> {
    match patients.next()? {
        Work::Cure(pod) => pod.failures[0].cause,
        Work::Observe(..) => None,
    }
}

#[test]
fn pause_has_the_cause_of_the_pull_before_it() {
    let mut patients = Patients::default();
    let pause = simple("ImagePullBackOff", "Back-off pulling image \"x\"");
    assert!(!apply(&mut patients, &pause), "the cause is unknown");
    assert!(apply(&mut patients, &simple("ErrImagePull", NOT_FOUND)));
    assert_eq!(next_cause(&mut patients), Some(MISSING));
    assert!(apply(&mut patients, &pause));
    assert_eq!(next_cause(&mut patients), Some(MISSING));
    // The cause is that of the image, not of the container.
    let other = simple("ImagePullBackOff", "Back-off pulling image \"x\"");
    let mut other_image = other.clone();
    other_image.spec.as_mut().unwrap().containers[0].image = Some(variant_of("r.example/app:v1") + "0");
    assert!(!apply(&mut patients, &other_image));
}

#[test]
fn pod_waits_once_with_its_last_state() {
    let mut patients = Patients::default();
    apply(&mut patients, &simple("ErrImagePull", NOT_FOUND));
    apply(&mut patients, &simple("ErrImagePull", REFUSED));
    assert_eq!(next_cause(&mut patients), Some(PullFailure::RegistryAway));
    assert_eq!(patients.next(), None);
    apply(&mut patients, &simple("ErrImagePull", NOT_FOUND));
    patients.apply(&Event::Delete(simple("ErrImagePull", NOT_FOUND)));
    assert_eq!(patients.next(), None);
}

/// Puts the pod of [`simple`] back and returns the container's later state after each report.
fn after_put_back(reports: &[(&str, &str)]) -> Vec<Option<Restored>> {
    let failed = simple("ErrImagePull", NOT_FOUND);
    let failing = failing(&failed);
    let case = Case::of(&failing, &failing.failures[0]).unwrap();
    let mut patients = Patients::default();
    let original = case.original.unwrap();
    patients.restored(Restoration {
        id: failing.id.clone(),
        failure: failing.failures[0].clone(),
        written: original.written.to_owned(),
        original: original.reference,
        variant: case.variant,
        cause: case.cause,
        is_relapse: false,
        is_pulled: true,
    });
    let mut outcomes = Vec::new();
    for (reason, message) in reports {
        let mut pod = simple(reason, message);
        pod.metadata.annotations = None;
        pod.spec.as_mut().unwrap().containers[0].image = Some(ORIGINAL.to_owned());
        apply(&mut patients, &pod);
        outcomes.push(patients.next().map(|work| match work {
            Work::Observe(_, outcome) => outcome,
            Work::Cure(pod) => unreachable!("{pod:?}"),
        }));
    }
    outcomes
}

#[test]
fn original_that_starts_is_observed_once() {
    let pause = format!("Back-off pulling image \"{}\"", variant_of(ORIGINAL));
    let reports = [
        ("ErrImagePull", NOT_FOUND),
        ("ImagePullBackOff", &pause),
        ("ContainerCreating", ""),
        ("", ""),
        ("", ""),
    ];
    assert_eq!(after_put_back(&reports), [None, None, None, Some(Restored::Pulled), None]);
}

#[test]
fn original_that_fails_too_is_reported_once() {
    let message = "failed to pull and unpack image \"r.example/app:v1\": 401 Unauthorized";
    let reports = [("ErrImagePull", NOT_FOUND), ("ErrImagePull", message), ("ErrImagePull", message)];
    assert_eq!(after_put_back(&reports), [None, Some(Restored::Failed(message.to_owned())), None]);
}

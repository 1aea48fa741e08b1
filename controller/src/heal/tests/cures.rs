//! Decisions.

use zstart_core::pull_failure::{ImageFault, PullFailure};

use super::*;
use crate::heal::decide::{Case, Cure, Obstacle};
use crate::heal::node_images::Presence;

/// Cure of the first failed pull of a pod.
fn cure(pod: &Pod, presence: Presence) -> Option<Cure> {
    let failing = FailingPod::of(pod)?;
    let case = Case::of(&failing, failing.failures.first()?)?;
    Some(case.decide(failing.has_controller, presence))
}

#[test]
fn variant_that_cannot_be_pulled_is_put_back() {
    for message in [
        NOT_FOUND,
        "unexpected status from HEAD request to https://r.example/v2/: 403 Forbidden",
        "wrong diff id \"sha256:aa\" calculated on extraction",
        "failed to extract layer: application/vnd.oci.image.layer.v1.tar+zstd: no processor for media-type",
        "archive/tar: invalid tar header: unknown",
        "a text of a later version",
    ] {
        for presence in [Presence::Present, Presence::Absent, Presence::Unknown] {
            assert_eq!(cure(&simple("ErrImagePull", message), presence), Some(Cure::PutBack), "{message}");
        }
    }
    for (reason, message) in [
        ("ErrImagePull", "write /x: no space left on device"),
        ("ErrImagePull", "pull QPS exceeded"),
        ("InvalidImageName", ""),
        ("CrashLoopBackOff", NOT_FOUND),
        ("ContainerCreating", ""),
    ] {
        assert_eq!(cure(&simple(reason, message), Presence::Present), None, "{reason} {message}");
    }
}

#[test]
fn registry_outage_puts_back_only_what_can_start() {
    let away = |policy: &str| {
        let container = json!({"name": "app", "image": variant_of(ORIGINAL), "imagePullPolicy": policy});
        let status = ("containerStatuses", "app", "ErrImagePull", REFUSED);
        pod(&json!({"containers/app": ORIGINAL}), &json!({"containers": [container]}), &[status])
    };
    let left = Some(Cure::Leave(Obstacle::RegistryAway));
    for (policy, presence, expected) in [
        ("IfNotPresent", Presence::Present, Some(Cure::PutBack)),
        ("IfNotPresent", Presence::Absent, left),
        // The node lists its 50 largest images.
        ("IfNotPresent", Presence::Unknown, Some(Cure::PutBack)),
        ("Always", Presence::Present, left),
    ] {
        assert_eq!(cure(&away(policy), presence), expected, "{policy} {presence:?}");
    }
}

#[test]
fn only_a_variant_of_the_named_original_is_touched() {
    let status = [("containerStatuses", "app", "ErrImagePull", NOT_FOUND)];
    let of = |originals: Value, image: &str| {
        cure(
            &pod(&originals, &json!({"containers": [{"name": "app", "image": image}]}), &status),
            Presence::Absent,
        )
    };
    let variant = variant_of(ORIGINAL);
    assert_eq!(of(json!({"containers/app": ORIGINAL}), &variant), Some(Cure::PutBack));
    for (originals, image) in [
        (Value::Null, &*variant),
        (json!({}), &variant),
        (json!({"containers/other": ORIGINAL}), &variant),
        (json!({"initContainers/app": ORIGINAL}), &variant),
        (json!({"containers/app": "r.example/app:v2"}), &variant),
        (json!({"containers/app": "r.example/other:v1"}), &variant),
        (json!({"containers/app": "evil.example/app:v1"}), &variant),
        (json!({"containers/app": variant}), &variant),
        (json!({"containers/app": "NOT an image"}), &variant),
        (json!({"containers/app": ORIGINAL}), ORIGINAL),
        (json!({"containers/app": ORIGINAL}), "r.example/app:v1-zstd-0123456789ab"),
    ] {
        assert_eq!(of(originals.clone(), image), None, "{originals} {image}");
    }
}

#[test]
fn image_volume_is_attributed_by_digest_and_evicted() {
    let (app, data) = (variant_of(ORIGINAL), variant_of("r.example/data:v1"));
    let volumes = json!([{"name": "data", "image": {"reference": data, "pullPolicy": "IfNotPresent"}}]);
    let spec = json!({"containers": [{"name": "app", "image": app}], "volumes": volumes});
    let originals = json!({"containers/app": ORIGINAL, "volumes/data": "r.example/data:v1"});
    let of = |message: &str, has_controller: bool| {
        let mut pod = pod(&originals, &spec, &[("containerStatuses", "app", "ErrImagePull", message)]);
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "1", "controller": true});
        if has_controller {
            pod.metadata.owner_references = Some(vec![serde_json::from_value(owner).unwrap()]);
        }
        let failing = failing(&pod);
        assert_eq!(failing.failures.len(), 1);
        let field = failing.failures[0].image.field.to_string();
        (field, cure(&pod, Presence::Present).unwrap())
    };
    let data_message = format!("failed to pull and unpack image \"{data}\": {NOT_FOUND}");
    let left = Cure::Leave(Obstacle::ImageVolume);
    assert_eq!(of(&data_message, true), ("volumes/data".to_owned(), Cure::Evict));
    assert_eq!(of(&data_message, false), ("volumes/data".to_owned(), left));
    // The next pod would get the variant again.
    let refused = format!("failed to pull and unpack image \"{data}\": {REFUSED}");
    let away = Cure::Leave(Obstacle::RegistryAway);
    assert_eq!(of(&refused, true), ("volumes/data".to_owned(), away));
    assert_eq!(of(NOT_FOUND, true), ("containers/app".to_owned(), Cure::PutBack));
}

#[test]
fn every_container_list_has_its_own_cure() {
    let spec = json!({
        "initContainers": [{"name": "init", "image": variant_of("r.example/init:v1")}],
        "containers": [{"name": "app", "image": variant_of(ORIGINAL)}, {"name": "plain", "image": "r.example/x:v1"}],
        "ephemeralContainers": [{"name": "debug", "image": variant_of(ORIGINAL)}],
    });
    let originals = json!({"initContainers/init": "r.example/init:v1", "containers/app": ORIGINAL});
    let pod = pod(
        &originals,
        &spec,
        &[
            ("initContainerStatuses", "init", "ErrImagePull", NOT_FOUND),
            ("containerStatuses", "app", "ErrImagePull", NOT_FOUND),
            ("containerStatuses", "plain", "ErrImagePull", NOT_FOUND),
            ("ephemeralContainerStatuses", "debug", "ErrImagePull", NOT_FOUND),
        ],
    );
    let failing = failing(&pod);
    let cures: Vec<(String, Cure)> = failing
        .failures
        .iter()
        .filter_map(|pull| {
            let case = Case::of(&failing, pull)?;
            Some((pull.image.field.to_string(), case.decide(false, Presence::Absent)))
        })
        .collect();
    let expected = [
        ("initContainers/init", Cure::PutBack),
        ("containers/app", Cure::PutBack),
        ("ephemeralContainers/debug", Cure::Leave(Obstacle::EphemeralContainer)),
    ];
    assert_eq!(cures, expected.map(|(field, cure)| (field.to_owned(), cure)));
}

#[test]
fn pod_that_is_deleted_is_left_alone() {
    let mut pod = simple("ErrImagePull", NOT_FOUND);
    assert!(FailingPod::of(&pod).is_some());
    let deleted = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    pod.metadata.deletion_timestamp = Some(deleted);
    assert_eq!(FailingPod::of(&pod), None);
}

#[test]
fn long_messages_are_cut_after_their_cause_was_read() {
    let message = format!("{}: {NOT_FOUND}", "ü".repeat(1000));
    let failing = failing(&simple("ErrImagePull", &message));
    let pull = &failing.failures[0];
    assert!(pull.message.len() <= 400 && pull.message.ends_with('ü'));
    assert_eq!(pull.cause, Some(PullFailure::Image(ImageFault::Missing)));
}

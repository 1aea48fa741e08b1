use kube::CustomResourceExt as _;
use proptest::prelude::*;

use super::*;

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

#[test]
fn record_name_is_readable_and_unique_per_image() {
    let name = record_name(&reference("111122223333.dkr.ecr.eu-west-1.amazonaws.com/team/app:v1.4"));
    assert!(name.starts_with("app-v1-4-"), "{name}");
    assert_eq!(record_name(&reference("nginx")), record_name(&reference("docker.io/library/nginx:latest")));
    assert_ne!(record_name(&reference("a/app:v1")), record_name(&reference("b/app:v1")));
    let digest = Digest::sha256_of(b"");
    let tagged = reference("app").with_tag_and_digest("v1".parse().unwrap(), digest.clone());
    assert_eq!(record_name(&tagged), record_name(&reference("app").with_digest(digest)));
}

proptest! {
    #[test]
    fn record_name_is_a_valid_label_value(
        path in "[a-z0-9]{1,60}(__[a-z0-9]{1,60})?",
        tag in "[A-Za-z0-9_][A-Za-z0-9._-]{0,127}",
    ) {
        let name = record_name(&reference(&format!("registry.example/{path}:{tag}")));
        prop_assert!(name.len() <= 63);
        prop_assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
        prop_assert!(!name.starts_with('-'));
    }
}

#[test]
fn transition_time_changes_only_with_the_status() {
    let mut status = ImageConversionStatus::default();
    let at = |second| jiff::Timestamp::from_second(second).unwrap();
    set_condition(&mut status, READY, false, RecordReason::Pending, "", at(1));
    set_condition(&mut status, READY, false, RecordReason::Converting, "layer 2 of 3", at(2));
    let ready = condition(&status, READY).unwrap();
    assert_eq!((ready.last_transition_time.0, ready.reason.as_str()), (at(1), "Converting"));
    set_condition(&mut status, READY, true, RecordReason::Verified, "", at(3));
    assert_eq!(condition(&status, READY).unwrap().last_transition_time.0, at(3));
    assert_eq!(status.conditions.len(), 1);
}

#[test]
fn crd_is_cluster_scoped_with_an_immutable_source() {
    let crd = serde_json::to_value(ImageConversion::crd()).unwrap();
    assert_eq!(crd["spec"]["scope"], "Cluster");
    assert_eq!(crd["spec"]["names"]["shortNames"][0], "imgconv");
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    let source = &schema["spec"]["properties"]["source"];
    assert_eq!(source["x-kubernetes-validations"][0]["rule"], "self == oldSelf");
    assert_eq!(schema["status"]["properties"]["conditions"]["x-kubernetes-list-map-keys"][0], "type");
}

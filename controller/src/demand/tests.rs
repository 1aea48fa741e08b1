use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;

fn pod(name: &str, spec: &Value) -> Pod {
    let metadata = json!({"name": name, "namespace": "shop", "uid": "1"});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

fn running(image: &str) -> Value {
    json!({"containers": [{"name": "app", "image": image}]})
}

fn demand(objects: &[Pod]) -> Demand {
    let mut demand = Demand::default();
    demand.namespace("shop", true);
    for object in objects {
        demand.apply(object.key().unwrap(), object.wants());
    }
    demand
}

fn sources(demand: &Demand) -> Vec<String> {
    demand.sources().iter().map(ToString::to_string).collect()
}

#[test]
fn every_image_of_a_pod_is_wanted_once_and_normalised() {
    let demand = demand(&[pod(
        "app",
        &json!({
            "containers": [{"name": "a", "image": "nginx"}, {"name": "b", "image": "docker.io/library/nginx:latest"}],
            "initContainers": [{"name": "c", "image": "registry.example/init:v1"}],
            "ephemeralContainers": [{"name": "d", "image": "registry.example/debug:v1"}],
            "volumes": [{"name": "e", "image": {"reference": "registry.example/data:v1"}}],
        }),
    )]);
    assert_eq!(
        sources(&demand),
        [
            "docker.io/library/nginx:latest",
            "registry.example/data:v1",
            "registry.example/debug:v1",
            "registry.example/init:v1",
        ]
    );
}

#[test]
fn only_opted_in_namespaces_count_and_opting_in_is_enough() {
    let mut demand = demand(&[pod("app", &running("nginx"))]);
    demand.namespace("shop", false);
    assert!(sources(&demand).is_empty());
    demand.namespace("shop", true);
    assert_eq!(sources(&demand).len(), 1);
}

#[test]
fn variants_and_nonsense_are_not_wanted() {
    let variant = "registry.example/app:v1-zstd-1a2b3c4d5e6f";
    let demand = demand(&[pod("variant", &running(variant)), pod("nonsense", &running("NOT/an image"))]);
    assert!(sources(&demand).is_empty());
}

#[test]
fn a_rewritten_pod_still_wants_what_its_author_wrote() {
    let mut rewritten = pod("app", &running("registry.example/app:v1-zstd-1a2b3c4d5e6f"));
    let originals = json!({"containers/app": "registry.example/app:v1"}).to_string();
    rewritten.metadata.annotations = Some([(zstart_core::keys::ORIGINALS.to_owned(), originals)].into());
    assert_eq!(sources(&demand(&[rewritten])), ["registry.example/app:v1"]);
}

#[test]
fn templates_are_read_at_every_depth() {
    let template = json!({"metadata": {}, "spec": running("registry.example/app:v1")});
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "app", "namespace": "shop"},
        "spec": {"selector": {}, "template": template},
    }))
    .unwrap();
    let cron: CronJob = serde_json::from_value(json!({
        "metadata": {"name": "app", "namespace": "shop"},
        "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": template}}},
    }))
    .unwrap();
    for wants in [deployment.wants(), cron.wants()] {
        assert_eq!(wants.sources.len(), 1);
        assert!(wants.reports_to.is_some());
    }
}

#[test]
fn who_wants_an_image_is_known_with_the_secrets_to_pull_it() {
    let mut owned = pod("owned", &running("registry.example/app:v1"));
    owned.metadata.owner_references = Some(vec![
        serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "2", "controller": true,
        }))
        .unwrap(),
    ]);
    let mut bare = running("registry.example/app:v1");
    bare["imagePullSecrets"] = json!([{"name": "pull"}]);
    bare["serviceAccountName"] = json!("builder");
    let demand = demand(&[owned, pod("bare", &bare)]);
    let wanters = demand.wanters(&"registry.example/app:v1".parse().unwrap());
    assert_eq!(wanters.len(), 2);
    assert_eq!(wanters[0].service_account, "builder");
    assert!(wanters[0].pull_secrets.contains("pull"));
    assert!(wanters[0].reports_to.is_some());
    assert!(wanters[1].reports_to.is_none(), "its ReplicaSet's owner speaks for it");
}

#[test]
fn what_a_new_list_does_not_have_is_forgotten() {
    let mut demand = demand(&[pod("one", &running("a/one")), pod("two", &running("a/two"))]);
    let left = BTreeSet::from([Key { kind: Kind::Pod, namespace: "shop".into(), name: "two".into() }]);
    demand.keep_only(Kind::Job, &BTreeSet::new());
    assert_eq!(sources(&demand).len(), 2);
    demand.keep_only(Kind::Pod, &left);
    assert_eq!(sources(&demand), ["docker.io/a/two:latest"]);
    demand.delete(left.first().unwrap());
    assert!(sources(&demand).is_empty());
}

#[test]
fn platforms_are_those_of_the_nodes_there_are() {
    let mut demand = Demand::default();
    demand.node("one", Some(Platform::new("linux", "amd64")));
    demand.node("two", Some(Platform::new("linux", "arm64")));
    demand.node("three", Some(Platform::new("linux", "amd64")));
    assert_eq!(demand.platforms().len(), 2);
    demand.keep_only_nodes(&BTreeSet::from(["one".to_owned()]));
    assert_eq!(demand.platforms().len(), 1);
}

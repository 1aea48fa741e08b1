use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::{apps, batch};
use serde_json::{Value, json};

use super::*;
use crate::watched::WatchedWorkload;

mod consumers;
mod looks;
mod property;

type Deployment = WatchedWorkload<apps::v1::Deployment>;
type StatefulSet = WatchedWorkload<apps::v1::StatefulSet>;
type DaemonSet = WatchedWorkload<apps::v1::DaemonSet>;
type Job = WatchedWorkload<batch::v1::Job>;
type CronJob = WatchedWorkload<batch::v1::CronJob>;

const APP: &str = "registry.example/app:v1";

fn pod(name: &str, spec: &Value) -> Pod {
    let metadata = json!({"name": name, "namespace": "shop", "uid": "1"});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

fn running(image: &str) -> Value {
    json!({"containers": [{"name": "app", "image": image}]})
}

fn namespace(name: &str, label: Option<&str>) -> PartialObjectMeta<Namespace> {
    let labels = label.map(|label| json!({keys::REWRITE: label})).unwrap_or_default();
    serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap()
}

/// Returns whether the demand changed.
fn set_namespace(demand: &mut Demand, label: Option<&str>) -> bool {
    let event = Event::Apply(namespace("shop", label));
    !demand.apply_namespace(event, &BTreeSet::new(), Instant::now()).is_empty()
}

/// Time of a look. Only objects with a creation time need the API server's clock.
fn at(instant: Instant) -> LookTime {
    LookTime { instant, clock: Timestamp::UNIX_EPOCH }
}

/// Returns whether the demand changed.
fn apply(demand: &mut Demand, event: Event<Pod>) -> bool {
    !demand.apply_workload(event, &BTreeSet::new(), at(Instant::now())).is_empty()
}

fn demand(objects: &[Pod]) -> Demand {
    let mut demand = Demand::default();
    set_namespace(&mut demand, Some(keys::ENABLED));
    for object in objects {
        apply(&mut demand, Event::Apply(object.clone()));
    }
    demand
}

fn sources(demand: &Demand) -> Vec<String> {
    demand.sources().iter().map(ToString::to_string).collect()
}

#[test]
fn pod_images_are_normalised_and_deduplicated() {
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
fn namespace_label_decides_whether_images_count() {
    let mut demand = demand(&[pod("app", &running("nginx"))]);
    assert!(!set_namespace(&mut demand, Some(keys::AUDIT)));
    assert!(set_namespace(&mut demand, None));
    assert!(sources(&demand).is_empty());
    assert!(set_namespace(&mut demand, Some(keys::ENABLED)));
    assert_eq!(sources(&demand).len(), 1);
}

#[test]
fn variants_and_invalid_references_are_ignored() {
    let digest = "a".repeat(64);
    let variants = [
        format!("registry.example/app:v1-zstd-1a2b3c4d5e6f@sha256:{digest}"),
        format!("registry.example/app:v1-zstd-1a2b3c4d5e6f-01234567@sha256:{digest}"),
        // Of a manifest that an index lists.
        "registry.example/app:sha256-1a2b3c4d5e6f-zstd-01234567".to_owned(),
    ];
    let mut pods = vec![pod("invalid", &running("NOT/an image"))];
    pods.extend(
        variants.iter().enumerate().map(|(number, image)| pod(&format!("app-{number}"), &running(image))),
    );
    assert!(sources(&demand(&pods)).is_empty());
}

#[test]
fn tag_in_the_form_of_a_variants_may_be_a_users_own() {
    for image in
        ["registry.example/app:v1-zstd-1a2b3c4d5e6f", "registry.example/app:v1-zstd-1a2b3c4d5e6f-01234567"]
    {
        assert_eq!(sources(&demand(&[pod("app", &running(image))])), [image]);
    }
}

#[test]
fn images_with_pull_policy_never_are_ignored() {
    let demand = demand(&[pod(
        "app",
        &json!({
            "containers": [{"name": "a", "image": "preloaded:v1", "imagePullPolicy": "Never"}],
            "volumes": [{"name": "b", "image": {"reference": "preloaded:v2", "pullPolicy": "Never"}}],
        }),
    )]);
    assert!(sources(&demand).is_empty());
}

#[test]
fn rewritten_pod_counts_for_its_original_image() {
    let mut rewritten = pod("app", &running("registry.example/app:v1-zstd-1a2b3c4d5e6f"));
    let originals = json!({"containers/app": "registry.example/app:v1"}).to_string();
    rewritten.metadata.annotations = Some([(zstart_core::keys::ORIGINALS.to_owned(), originals)].into());
    assert_eq!(sources(&demand(&[rewritten.clone()])), ["registry.example/app:v1"]);
    // The pod was copied and got another image.
    rewritten.spec = pod("app", &running("registry.example/other:v2")).spec;
    assert_eq!(sources(&demand(&[rewritten])), ["registry.example/other:v2"]);
}

#[test]
fn pod_templates_are_read_at_every_depth() {
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
    let none = BTreeSet::new();
    for requirements in [deployment.requirements(&none), cron.requirements(&none)] {
        assert_eq!(requirements.sources.len(), 1);
        assert!(requirements.event_target.is_some());
    }
}

fn owned_pod(name: &str, api_version: &str, kind: &str) -> Pod {
    let mut owned = pod(name, &running("registry.example/app:v1"));
    let owner = json!({"apiVersion": api_version, "kind": kind, "name": "x", "uid": "2", "controller": true});
    owned.metadata.owner_references = Some(vec![serde_json::from_value(owner).unwrap()]);
    owned
}

#[test]
fn event_target_is_the_watched_owner_or_the_pod() {
    let mut rolled_out = owned_pod("rolled-out", "apps/v1", "ReplicaSet");
    rolled_out.metadata.labels = Some([("pod-template-hash".to_owned(), "5d4f".to_owned())].into());
    for (object, expected) in [
        (rolled_out, false),
        (owned_pod("one", "apps/v1", "DaemonSet"), false),
        (owned_pod("two", "batch/v1", "Job"), false),
        // No Deployment owns the ReplicaSet, so the pod gets the events.
        (owned_pod("three", "apps/v1", "ReplicaSet"), true),
        (owned_pod("four", "v1", "ReplicationController"), true),
    ] {
        let requirements = object.requirements(&BTreeSet::new());
        assert_eq!(requirements.event_target.is_some(), expected, "{:?}", object.metadata.owner_references);
    }
    let mut deployment: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "app", "namespace": "shop"},
        "spec": {"selector": {}, "template": {"spec": running("registry.example/app:v1")}},
    }))
    .unwrap();
    deployment.metadata.owner_references = owned_pod("x", "example.com/v1", "Shop").metadata.owner_references;
    assert!(
        deployment.requirements(&BTreeSet::new()).event_target.is_some(),
        "custom resources get no events"
    );
}

#[test]
fn excluded_namespace_is_ignored_despite_its_label() {
    let mut demand = demand(&[pod("app", &running("nginx"))]);
    let event = Event::Apply(namespace("shop", Some(keys::ENABLED)));
    let excluded = BTreeSet::from(["shop".to_owned()]);
    assert!(!demand.apply_namespace(event, &excluded, Instant::now()).is_empty());
    assert!(sources(&demand).is_empty());
}

#[test]
fn template_of_a_helm_release_is_required() {
    let helm = json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}});
    let template: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "app", "namespace": "shop"},
        "spec": {"selector": {}, "template": {"metadata": helm, "spec": running("registry.example/app:v1")}},
    }))
    .unwrap();
    assert_eq!(template.requirements(&BTreeSet::new()).sources.len(), 1);
    // The same marks on a pod without a controller mean that its manifest is applied again.
    let mut bare = pod("bare", &running("registry.example/app:v1"));
    bare.metadata.labels = serde_json::from_value(helm["labels"].clone()).unwrap();
    assert!(bare.requirements(&BTreeSet::new()).sources.is_empty());
}

#[test]
fn excluded_workloads_are_ignored() {
    let disabled = json!({"labels": {zstart_core::keys::REWRITE: zstart_core::keys::DISABLED}});
    let mut opted_out = pod("opted-out", &running("registry.example/app:v1"));
    opted_out.metadata.labels = serde_json::from_value(disabled["labels"].clone()).unwrap();
    let template: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "app", "namespace": "shop"},
        "spec": {"selector": {}, "template": {"metadata": disabled, "spec": running("registry.example/app:v1")}},
    }))
    .unwrap();
    let foreign = owned_pod("foreign", "apps.kruise.io/v1alpha1", "CloneSet");
    let none = BTreeSet::new();
    for requirements in
        [opted_out.requirements(&none), template.requirements(&none), foreign.requirements(&none)]
    {
        assert!(requirements.sources.is_empty(), "{requirements:?}");
    }
    let allowed = BTreeSet::from(["CloneSet.apps.kruise.io".parse().unwrap()]);
    assert_eq!(foreign.requirements(&allowed).sources.len(), 1);
}

#[test]
fn unchanged_pod_reports_no_change() {
    let mut demand = demand(&[pod("app", &running("nginx"))]);
    assert!(!apply(&mut demand, Event::Apply(pod("app", &running("nginx")))));
    let mut next = pod("app", &running("nginx:1.27"));
    assert!(apply(&mut demand, Event::Apply(next.clone())));
    next.metadata.namespace = Some("not-opted-in".to_owned());
    assert!(!apply(&mut demand, Event::Apply(next.clone())));
    assert!(!apply(&mut demand, Event::Delete(next)));
}

#[test]
fn relist_drops_absent_workloads() {
    let (one, two) = (pod("one", &running("a/one")), pod("two", &running("a/two")));
    let mut demand = demand(&[one, two.clone()]);
    for event in [Event::Init, Event::InitDone] {
        let changed = demand.apply_workload::<Job>(event, &BTreeSet::new(), at(Instant::now()));
        assert!(changed.is_empty(), "the kinds are listed independently");
    }
    assert_eq!(sources(&demand).len(), 2);
    for event in [Event::Init, Event::InitApply(two.clone())] {
        assert!(!apply(&mut demand, event));
    }
    assert!(apply(&mut demand, Event::InitDone));
    assert_eq!(sources(&demand), ["docker.io/a/two:latest"]);
    assert!(apply(&mut demand, Event::Delete(two)));
    assert!(sources(&demand).is_empty());
}

fn node(name: &str, architecture: &str) -> NodeState {
    let labels = json!({"kubernetes.io/os": "linux", "kubernetes.io/arch": architecture});
    serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap()
}

/// Returns whether the platforms changed.
fn apply_node(demand: &mut Demand, event: Event<NodeState>) -> bool {
    demand.apply_node(event, Timestamp::UNIX_EPOCH).platforms
}

#[test]
fn platforms_follow_the_nodes() {
    let mut demand = Demand::default();
    for (name, architecture, is_new) in
        [("one", "amd64", true), ("two", "arm64", true), ("three", "amd64", false)]
    {
        assert_eq!(apply_node(&mut demand, Event::Apply(node(name, architecture))), is_new, "{name}");
    }
    for event in [Event::Init, Event::InitApply(node("one", "amd64")), Event::InitDone] {
        assert!(!apply_node(&mut demand, event));
    }
    assert_eq!(demand.platforms().len(), 2, "the platform of the lost node is kept");
    let later = Timestamp::UNIX_EPOCH + Duration::from_hours(1);
    assert!(demand.expire_platforms(later, Duration::from_mins(59)).platforms);
    assert_eq!(demand.platforms().len(), 1);
}

#[test]
fn demand_is_synced_after_every_first_list() {
    let mut demand = Demand::default();
    let (none, now) = (BTreeSet::new(), Instant::now());
    let _ = demand.apply_namespace(Event::InitDone, &BTreeSet::new(), now);
    let _ = demand.apply_node(Event::InitDone, Timestamp::UNIX_EPOCH);
    let _ = demand.apply_workload::<Pod>(Event::InitDone, &none, at(now));
    let _ = demand.apply_workload::<Deployment>(Event::InitDone, &none, at(now));
    let _ = demand.apply_workload::<StatefulSet>(Event::InitDone, &none, at(now));
    let _ = demand.apply_workload::<DaemonSet>(Event::InitDone, &none, at(now));
    let _ = demand.apply_workload::<Job>(Event::InitDone, &none, at(now));
    assert!(!demand.is_synced());
    let _ = demand.apply_workload::<CronJob>(Event::InitDone, &none, at(now));
    assert!(!demand.is_synced());
    let _ = demand.restore_platforms(BTreeMap::new());
    assert!(demand.is_synced());
}

#[test]
fn finished_pods_and_jobs_need_no_images() {
    let none = BTreeSet::new();
    for (phase, count) in [("Pending", 1), ("Running", 1), ("Unknown", 1), ("Succeeded", 0), ("Failed", 0)] {
        let mut pod = pod("app", &running(APP));
        pod.status = serde_json::from_value(json!({"phase": phase})).unwrap();
        assert_eq!(pod.requirements(&none).sources.len(), count, "{phase}");
    }
    for (condition, status, count) in [
        ("Complete", "True", 0),
        ("Failed", "True", 0),
        ("Complete", "False", 1),
        ("Suspended", "True", 1),
        ("FailureTarget", "True", 1),
    ] {
        let job = json!({
            "metadata": {"name": "migration", "namespace": "shop"},
            "spec": {"template": {"metadata": {}, "spec": running(APP)}},
            "status": {"conditions": [{"type": condition, "status": status}]},
        });
        let job: Job = serde_json::from_value(job).unwrap();
        assert_eq!(job.requirements(&none).sources.len(), count, "{condition} {status}");
    }
}

#[test]
fn kept_images_are_ignored() {
    let spec = json!({
        "containers": [{"name": "app", "image": "a/app:v1"}, {"name": "proxy", "image": "a/proxy:v1"}],
        "volumes": [{"name": "data", "image": {"reference": "a/data:v1"}}],
    });
    let annotations = json!({keys::KEEP_IMAGES: "proxy, data"});
    let mut pod = pod("app", &spec);
    pod.metadata.annotations = serde_json::from_value(annotations.clone()).unwrap();
    let job = json!({
        "metadata": {"name": "migration", "namespace": "shop"},
        "spec": {"template": {"metadata": {"annotations": annotations}, "spec": spec}},
    });
    let job: Job = serde_json::from_value(job).unwrap();
    for requirements in [pod.requirements(&BTreeSet::new()), job.requirements(&BTreeSet::new())] {
        let sources: Vec<String> = requirements.sources.keys().map(ToString::to_string).collect();
        assert_eq!(sources, ["docker.io/a/app:v1"]);
    }
}

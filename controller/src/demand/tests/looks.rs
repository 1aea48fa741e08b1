//! Looks that changed pod templates ask for.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;

fn deployment(image: &str, template: &Value, status: &Value) -> Deployment {
    let mut pods = json!({"metadata": {"labels": {"app": "web"}}, "spec": running(image)});
    pods["metadata"]["annotations"] = template.clone();
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": {}, "replicas": status["replicas"], "template": pods},
        "status": status,
    }))
    .unwrap()
}

/// A demand whose lists of Deployments and pods are complete, and the times of its next events.
fn synced() -> (Demand, impl Iterator<Item = Instant>) {
    let mut demand = demand(&[]);
    let now = Instant::now();
    for event in [Event::Init, Event::InitApply(deployment(APP, &json!({}), &json!({}))), Event::InitDone] {
        let _ = demand.apply_workload(event, &BTreeSet::new(), at(now));
    }
    apply(&mut demand, Event::InitDone);
    for event in [Event::Init, Event::InitApply(namespace("shop", Some(keys::ENABLED))), Event::InitDone] {
        let _ = demand.apply_namespace(event, &BTreeSet::new(), now);
    }
    (demand, (1..).map(move |second| now + std::time::Duration::from_secs(second)))
}

fn requested(demand: &Demand) -> Option<Instant> {
    demand.requested_look(&APP.parse().unwrap())
}

#[test]
fn changed_template_requests_a_look() {
    let (mut demand, mut times) = synced();
    let restarted = json!({"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"});
    let steps = [
        (deployment(APP, &json!({}), &json!({"replicas": 3, "readyReplicas": 1})), false),
        (deployment(APP, &restarted, &json!({"replicas": 3})), true),
        (deployment(APP, &restarted, &json!({"replicas": 4})), false),
        (deployment(APP, &json!({}), &json!({"replicas": 4})), true),
    ];
    for (object, is_look) in steps {
        let (before, time) = (requested(&demand), times.next().unwrap());
        let _ = demand.apply_workload(Event::Apply(object.clone()), &BTreeSet::new(), at(time));
        assert_eq!(requested(&demand), if is_look { Some(time) } else { before }, "{object:?}");
    }
}

#[test]
fn object_of_the_first_list_requests_a_look_after_its_creation() {
    let (now, clock) = (Instant::now(), Timestamp::from_second(1_700_000_000).unwrap());
    let time = LookTime::after_change(now, clock);
    let created = |seconds| Some(Time(clock - std::time::Duration::from_secs(seconds)));
    let mut web = deployment(APP, &json!({}), &json!({}));
    web.metadata.creation_timestamp = created(60);
    let mut pod = owned_pod("web-1", "apps/v1", "ReplicaSet");
    pod.metadata.creation_timestamp = created(3);
    // The namespaces are listed last, before them, or not opted in.
    for (is_first, label, is_requested) in
        [(false, keys::ENABLED, true), (true, keys::ENABLED, true), (true, keys::DISABLED, false)]
    {
        let mut demand = Demand::default();
        let list_namespaces = |demand: &mut Demand| {
            for event in [Event::Init, Event::InitApply(namespace("shop", Some(label))), Event::InitDone] {
                let _ = demand.apply_namespace(event, &BTreeSet::new(), time.instant);
            }
        };
        if is_first {
            list_namespaces(&mut demand);
        }
        for event in [Event::Init, Event::InitApply(web.clone()), Event::InitDone] {
            let _ = demand.apply_workload(event, &BTreeSet::new(), time);
        }
        let before = requested(&demand);
        for event in [Event::Init, Event::InitApply(pod.clone()), Event::InitDone] {
            let _ = demand.apply_workload(event, &BTreeSet::new(), time);
        }
        if !is_first {
            list_namespaces(&mut demand);
        }
        let expected = |seconds| {
            let created = created(seconds).filter(|_| is_requested);
            created.and_then(|created| time.after_creation(created.0))
        };
        assert_eq!((before, requested(&demand)), (expected(60), expected(3)), "{is_first} {label}");
    }
}

#[test]
fn first_pod_of_a_revision_requests_a_look() {
    let (mut demand, mut times) = synced();
    let labelled = |name: &str, hash: &str| {
        let mut pod = owned_pod(name, "apps/v1", "ReplicaSet");
        pod.metadata.labels = Some([("pod-template-hash".to_owned(), hash.to_owned())].into());
        pod
    };
    for (pod, is_look) in [
        (labelled("a", "1"), true),
        (labelled("b", "1"), false),
        (labelled("c", "2"), true),
        (owned_pod("of-job", "batch/v1", "Job"), false),
        (pod("bare", &running(APP)), false),
    ] {
        let (before, time) = (requested(&demand), times.next().unwrap());
        let _ = demand.apply_workload(Event::Apply(pod.clone()), &BTreeSet::new(), at(time));
        assert_eq!(requested(&demand), if is_look { Some(time) } else { before }, "{:?}", pod.metadata);
    }
}

#[test]
fn run_of_a_cron_job_requests_no_look() {
    let (mut demand, mut times) = synced();
    let _ = demand.apply_workload::<Job>(Event::InitDone, &BTreeSet::new(), at(Instant::now()));
    let job = |name: &str, owned: bool| {
        let template = json!({"metadata": {}, "spec": running(APP)});
        let job = json!({"metadata": {"name": name, "namespace": "shop"}, "spec": {"template": template}});
        let mut job: Job = serde_json::from_value(job).unwrap();
        if owned {
            job.metadata.owner_references = owned_pod("x", "batch/v1", "CronJob").metadata.owner_references;
        }
        job
    };
    let _ =
        demand.apply_workload(Event::Apply(job("run", true)), &BTreeSet::new(), at(times.next().unwrap()));
    assert_eq!(requested(&demand), None);
    let time = times.next().unwrap();
    let _ = demand.apply_workload(Event::Apply(job("migration", false)), &BTreeSet::new(), at(time));
    assert_eq!(requested(&demand), Some(time));
}

#[test]
fn namespace_that_opts_in_requests_looks_at_its_images() {
    let (mut demand, mut times) = synced();
    set_namespace(&mut demand, None);
    let changed = deployment(APP, &json!({"a": "b"}), &json!({}));
    let _ = demand.apply_workload(Event::Apply(changed), &BTreeSet::new(), at(times.next().unwrap()));
    assert_eq!(requested(&demand), None);
    let (event, time) = (Event::Apply(namespace("shop", Some(keys::ENABLED))), times.next().unwrap());
    let _ = demand.apply_namespace(event, &BTreeSet::new(), time);
    assert_eq!(requested(&demand), Some(time));
}

//! Consumers of a source, and the memory that they take.

use kube::Resource as _;

use super::*;

#[test]
fn consumers_carry_their_pull_secrets() {
    let owned = owned_pod("owned", "apps/v1", "StatefulSet");
    let mut bare = running("registry.example/app:v1");
    bare["imagePullSecrets"] = json!([{"name": "pull"}]);
    bare["serviceAccountName"] = json!("builder");
    let demand = demand(&[owned, pod("bare", &bare)]);
    let consumers = demand.consumers(&"registry.example/app:v1".parse().unwrap());
    assert_eq!(consumers.len(), 2);
    assert_eq!(consumers[0].service_account, "builder");
    assert!(consumers[0].pull_secrets.contains("pull"));
    assert!(consumers[0].event_target.is_some());
    assert!(consumers[1].event_target.is_none(), "the StatefulSet gets the events");
}

#[test]
fn consumers_tell_whether_they_always_pull() {
    let mut spec = running(APP);
    spec["containers"][0]["imagePullPolicy"] = json!("IfNotPresent");
    let sometimes = pod("sometimes", &spec);
    spec["initContainers"] = json!([{"name": "init", "image": APP, "imagePullPolicy": "Always"}]);
    let demand = demand(&[sometimes, pod("always", &spec)]);
    let pulls: Vec<bool> =
        demand.consumers(&APP.parse().unwrap()).iter().map(|consumer| consumer.pulls_always).collect();
    assert_eq!(pulls, [true, false]);
}

#[test]
fn workloads_with_equal_credentials_are_one_consumer() {
    let mut demand = demand(&[]);
    let labels = || Some([("pod-template-hash".to_owned(), "5d4f".to_owned())].into());
    for number in 0..1_000 {
        let mut pod = owned_pod(&format!("web-{number}"), "apps/v1", "ReplicaSet");
        pod.metadata.labels = labels();
        apply(&mut demand, Event::Apply(pod));
    }
    apply(&mut demand, Event::Apply(owned_pod("db-0", "apps/v1", "StatefulSet")));
    let source = APP.parse().unwrap();
    assert_eq!(demand.consumers(&source).len(), 1);
    let mut other = owned_pod("other", "apps/v1", "StatefulSet");
    other.spec.as_mut().unwrap().service_account_name = Some("builder".to_owned());
    assert!(apply(&mut demand, Event::Apply(other)));
    let accounts: Vec<String> =
        demand.consumers(&source).into_iter().map(|consumer| consumer.service_account).collect();
    assert_eq!(accounts, ["builder", "default"]);
}

#[test]
fn ten_consumers_at_most_have_an_event_target() {
    let pods: Vec<Pod> = (0..100).map(|number| pod(&format!("bare-{number:03}"), &running(APP))).collect();
    let mut demand = demand(&pods);
    let targets = |demand: &Demand| -> Vec<String> {
        let consumers = demand.consumers(&APP.parse().unwrap());
        consumers.into_iter().map(|consumer| consumer.event_target.unwrap().name.unwrap()).collect()
    };
    let names = |from: usize| -> Vec<String> {
        (from..from + 10).map(|number| format!("bare-{number:03}")).collect()
    };
    assert_eq!(targets(&demand), names(0));
    for pod in &pods[..50] {
        assert!(!apply(&mut demand, Event::Delete(pod.clone())), "another event target is no change");
    }
    assert_eq!(targets(&demand), names(50));
    let key = Key { kind: Kind::Pod, namespace: "shop".to_owned(), name: "bare-099".to_owned() };
    let target = demand.event_target(&key).unwrap();
    assert_eq!((target.api_version.as_deref(), target.kind.as_deref()), (Some("v1"), Some("Pod")));
    assert_eq!(target, pods[99].object_ref(&()));
}

/// Counts allocations of one kind each: distinct templates, credentials, sources and namespaces.
#[test]
fn pods_of_a_template_share_their_requirements() {
    let pods: Vec<Pod> = (0..1_000)
        .map(|number| {
            owned_pod(
                &format!("{}-{number}", if number % 2 == 0 { "a" } else { "b" }),
                "apps/v1",
                "DaemonSet",
            )
        })
        .collect();
    let mut demand = demand(&pods);
    assert_eq!(demand.workloads.len(), pods.len() + 4, "one template, access, source and namespace");
    for pod in pods {
        apply(&mut demand, Event::Delete(pod));
    }
    assert_eq!(demand.workloads.len(), 1, "the opted-in namespace");
    set_namespace(&mut demand, None);
    assert_eq!(demand.workloads.len(), 0);
}

//! Ordinary causes of a deletion or a change, which are no evidence however often they happen.

use super::*;

/// Replaces the pod of a `StatefulSet` every half hour. `cause` prepares the pod for its deletion.
fn replace_for(cause: impl Fn(&mut Simulation, &mut Value)) -> Simulation {
    let mut simulation = Simulation::start();
    let mut pod = simulation.start_pod("db-0", &stateful_set("a"));
    for _ in 0..ROUNDS {
        simulation.advance(1800);
        cause(&mut simulation, &mut pod);
        simulation.delete(&mut pod);
        simulation.node("one", false);
        pod = simulation.start_pod("db-0", &stateful_set("a"));
    }
    simulation
}

#[test]
fn replacement_without_a_cause_is_a_loop() {
    assert!(!replace_for(|_, _| ()).verdicts.is_empty(), "the other tests here rely on this");
}

/// Drain, eviction by API, preemption, taints, node pressure and a lost node set the condition.
#[test]
fn disrupted_pod_is_no_evidence() {
    for condition in ["DisruptionTarget", "TerminationTarget"] {
        let simulation = replace_for(|simulation, pod| {
            let conditions = json!([
                {"type": "Ready", "status": "True"}, {"type": condition, "status": "True", "reason": "EvictionByEvictionAPI"},
            ]);
            pod["status"]["conditions"] = conditions;
            simulation.apply(pod);
        });
        simulation.assert_no_hold();
    }
}

/// `kubectl drain --disable-eviction` deletes pods of a cordoned node.
#[test]
fn pod_of_a_cordoned_node_is_no_evidence() {
    replace_for(|simulation, _| simulation.node("one", true)).assert_no_hold();
}

#[test]
fn pod_of_a_lost_node_is_no_evidence() {
    replace_for(|simulation, _| simulation.node_is_gone("one")).assert_no_hold();
}

#[test]
fn evicted_and_finished_pods_are_no_evidence() {
    for phase in ["Failed", "Succeeded", "Unknown"] {
        replace_for(|_, pod| pod["status"] = json!({"phase": phase, "reason": "Evicted"})).assert_no_hold();
    }
}

#[test]
fn failing_pod_is_no_evidence() {
    let crashed = json!([{"name": "app", "restartCount": 3, "ready": false, "image": "", "imageID": ""}]);
    let waiting = json!([{"name": "app", "restartCount": 0, "ready": false, "image": "", "imageID": "",
        "state": {"waiting": {"reason": "ImagePullBackOff"}}}]);
    let statuses = [
        json!({"phase": "Running", "containerStatuses": crashed}),
        json!({"phase": "Pending", "containerStatuses": waiting}),
        json!({"phase": "Pending", "initContainerStatuses": crashed}),
        // Not Ready after half an hour.
        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}),
        json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False"}]}),
    ];
    for status in statuses {
        replace_for(|_, pod| pod["status"] = status.clone()).assert_no_hold();
    }
}

#[test]
fn stateful_set_scaled_down_and_up_is_no_evidence() {
    for pause in [0, 1, 600] {
        let mut simulation = Simulation::start();
        for round in 0..ROUNDS {
            let mut pod = simulation.start_pod("db-1", &stateful_set("a"));
            simulation.advance(600);
            simulation.scale(10 + 2 * i64::try_from(round).unwrap());
            simulation.delete(&mut pod);
            simulation.advance(pause);
            simulation.scale(11 + 2 * i64::try_from(round).unwrap());
        }
        simulation.assert_no_hold();
    }
}

/// The owner of the `ReplicaSet` is unknown, as with Argo Rollouts. A removal ends long after the request,
/// shortly before the autoscaler adds a pod again.
#[test]
fn autoscaler_that_flaps_is_no_evidence() {
    let unknown = controller("apps/v1", "ReplicaSet", "rollout-a", json!({"pod-template-hash": "a"}));
    for controller in [unknown, replica_set("a")] {
        let mut simulation = Simulation::start();
        let mut pod = simulation.start_pod("web-0", &controller);
        for round in 1..=ROUNDS {
            simulation.advance(300);
            simulation.request_deletion(&mut pod);
            simulation.advance(14);
            simulation.remove(&pod);
            simulation.advance(1);
            pod = simulation.start_pod(&format!("web-{round}"), &controller);
        }
        simulation.assert_no_hold();
    }
}

#[test]
fn deployment_scaled_to_zero_and_back_is_no_evidence() {
    let mut simulation = Simulation::start();
    for round in 0..ROUNDS {
        let mut pod = simulation.start_pod(&format!("web-{round}"), &replica_set("a"));
        simulation.advance(600);
        simulation.scale(10 + 2 * i64::try_from(round).unwrap());
        simulation.request_deletion(&mut pod);
        simulation.scale(11 + 2 * i64::try_from(round).unwrap());
    }
    simulation.assert_no_hold();
}

#[test]
fn rolling_restart_is_no_evidence() {
    let mut simulation = Simulation::start();
    let mut pods = Pods::new();
    for round in 0..ROUNDS {
        for name in ["db-0", "db-1", "db-2"] {
            if let Some(mut old) = pods.remove(name) {
                simulation.delete(&mut old);
            }
            let new = simulation.start_pod(name, &stateful_set(&format!("revision-{round}")));
            pods.insert(name.to_owned(), new);
        }
        simulation.advance(600);
    }
    // A Deployment's rollout replaces the ReplicaSet; rolled back again and again.
    let mut pod = simulation.start_pod("web-0", &replica_set("a"));
    for round in 1..=ROUNDS {
        let new = simulation.start_pod(&format!("web-{round}"), &replica_set(["a", "b"][round % 2]));
        simulation.delete(&mut pod);
        pod = new;
        simulation.advance(600);
    }
    simulation.assert_no_hold();
}

#[test]
fn job_retries_and_completions_are_no_evidence() {
    for phase in ["Failed", "Succeeded"] {
        let mut simulation = Simulation::start();
        for round in 0..ROUNDS {
            let mut pod = simulation.start_pod(&format!("work-{round}"), &job());
            pod["status"]["phase"] = json!(phase);
            simulation.apply(&pod);
            simulation.delete(&mut pod);
        }
        simulation.assert_no_hold();
    }
}

/// A queue suspends a Job, which deletes its running pods, and resumes it later.
#[test]
fn suspended_job_is_no_evidence() {
    let mut simulation = Simulation::start();
    for round in 0..ROUNDS {
        let mut pod = simulation.start_pod(&format!("work-{round}"), &job());
        simulation.advance(60);
        simulation.delete(&mut pod);
        simulation.advance(60);
    }
    simulation.assert_no_hold();
}

#[test]
fn nightly_restart_is_no_evidence() {
    let mut simulation = Simulation::start();
    let mut pod = simulation.start_pod("db-0", &stateful_set("a"));
    for _ in 0..ROUNDS {
        simulation.advance(24 * 3600);
        simulation.delete(&mut pod);
        pod = simulation.start_pod("db-0", &stateful_set("a"));
    }
    simulation.assert_no_hold();
}

#[test]
fn many_pods_deleted_at_once_are_no_chain() {
    let mut simulation = Simulation::start();
    let pods: Vec<Value> =
        (0..30).map(|number| simulation.start_pod(&format!("web-{number}"), &replica_set("a"))).collect();
    for (number, mut pod) in pods.into_iter().enumerate() {
        simulation.delete(&mut pod);
        simulation.start_pod(&format!("web-{}", 100 + number), &replica_set("a"));
    }
    simulation.assert_no_hold();
}

#[test]
fn owner_created_again_starts_from_zero() {
    let mut simulation = Simulation::start();
    for round in 0..ROUNDS {
        let mut owner = stateful_set("a");
        owner.reference["uid"] = json!(round.to_string());
        let mut pod = simulation.start_pod("db-0", &owner);
        simulation.advance(60);
        simulation.delete(&mut pod);
    }
    simulation.assert_no_hold();
}

#[test]
fn pods_that_were_not_rewritten_are_no_evidence() {
    let mut simulation = Simulation::start();
    simulation.rewrites = false;
    let mut pod = simulation.start_pod("db-0", &stateful_set("a"));
    for _ in 0..ROUNDS {
        simulation.advance(60);
        simulation.delete(&mut pod);
        pod = simulation.start_pod("db-0", &stateful_set("a"));
    }
    simulation.assert_no_hold();
}

/// A hub deletes the pod of an idle user and creates it when the user returns.
#[test]
fn bare_pod_created_again_after_a_pause_is_no_evidence() {
    let mut simulation = Simulation::start();
    for _ in 0..ROUNDS {
        let mut pod = simulation.start_pod("jupyter-ada", &bare());
        simulation.advance(3600);
        simulation.delete(&mut pod);
        simulation.advance(120);
    }
    simulation.assert_no_hold();
}

#[test]
fn deletions_during_a_watch_gap_are_no_evidence() {
    let mut simulation = Simulation::start();
    for _ in 0..ROUNDS {
        let pod = simulation.start_pod("db-0", &stateful_set("a"));
        simulation.advance(60);
        let listed: Pod = serde_json::from_value(pod).unwrap();
        for event in [Event::Init, Event::InitApply(listed), Event::InitDone, Event::Init, Event::InitDone] {
            assert_eq!(simulation.guard.apply_pod(&event, simulation.now), []);
        }
    }
    simulation.assert_no_hold();
}

#[test]
fn one_image_changed_back_is_an_administrators() {
    let mut simulation = Simulation::start();
    let mut pod = simulation.start_pod("db-0", &stateful_set("a"));
    simulation.change_back(&mut pod);
    pod["status"]["message"] = json!("changed");
    simulation.apply(&pod);
    simulation.advance(8 * 24 * 3600);
    let mut pod = simulation.start_pod("db-1", &stateful_set("a"));
    simulation.change_back(&mut pod);
    simulation.assert_no_hold();
}

/// zstart's controller puts a pod that can't pull its variant back on the original.
#[test]
fn image_changed_back_by_zstart_is_no_evidence() {
    let mut simulation = Simulation::start();
    for number in 0..4 {
        let mut pod = simulation.start_pod(&format!("db-{number}"), &stateful_set("a"));
        let fields = json!({"f:spec": {"f:containers": {r#"k:{"name":"app"}"#: {"f:image": {}}}}});
        let manager = json!([{"manager": "zstart-controller", "operation": "Apply", "fieldsV1": fields}]);
        pod["metadata"]["managedFields"] = manager;
        simulation.change_back(&mut pod);
    }
    simulation.assert_no_hold();
}

/// A copied pod has the annotation, and never had the variant.
#[test]
fn copied_pod_with_its_original_image_is_no_evidence() {
    let mut simulation = Simulation::start();
    simulation.rewrites = false;
    for number in 0..4 {
        let mut pod = simulation.create(&format!("copy-{number}"), &stateful_set("a"));
        pod["metadata"]["annotations"] =
            json!({"zstart.dev/originals": json!({"containers/app": ORIGINAL}).to_string()});
        simulation.apply(&pod);
    }
    simulation.assert_no_hold();
}

/// The watch reports the end of a pod as a deletion of the running pod.
#[test]
fn pod_that_left_the_watch_by_its_end_is_no_evidence() {
    let mut simulation = Simulation::start();
    let mut pod = simulation.start_pod("db-0", &stateful_set("a"));
    for _ in 0..ROUNDS {
        simulation.advance(600);
        let last: Pod = serde_json::from_value(pod).unwrap();
        assert_eq!(simulation.guard.removal(&last), Removal::Unclear);
        simulation.guard.forget_finished(&last);
        pod = simulation.start_pod("db-0", &stateful_set("a"));
    }
    simulation.assert_no_hold();
}

#[test]
fn only_rewritten_pods_leave_the_watch_in_doubt() {
    let mut simulation = Simulation::start();
    let mut pod = simulation.start_pod("db-0", &stateful_set("a"));
    let removal = |simulation: &Simulation, pod: &Value| {
        simulation.guard.removal(&serde_json::from_value(pod.clone()).unwrap())
    };
    let mut of_job = pod.clone();
    of_job["metadata"]["finalizers"] = json!(["batch.kubernetes.io/job-tracking"]);
    assert_eq!(removal(&simulation, &of_job), Removal::Finished);
    assert_eq!(removal(&simulation, &pod), Removal::Unclear);
    simulation.request_deletion(&mut pod);
    assert_eq!(removal(&simulation, &pod), Removal::Deleted, "the request was an event");
    simulation.rewrites = false;
    let plain = simulation.start_pod("plain", &stateful_set("a"));
    assert_eq!(removal(&simulation, &plain), Removal::Deleted);
}

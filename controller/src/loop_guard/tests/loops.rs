//! Operators that undo a rewrite, at short and long periods.

use super::*;

const PERIODS: [i64; 2] = [10, 1800];

/// Zalando's and Aerospike's operators delete the pods of a `StatefulSet` whose image differs.
#[test]
fn deleted_stateful_set_pod_is_a_loop() {
    for period in PERIODS {
        let mut simulation = Simulation::start();
        let rounds = loop_until_verdict(&mut simulation, &stateful_set("a"), period, |_| "db-0".to_owned());
        assert_eq!(
            (rounds, simulation.reasons()),
            (3, vec![HoldReason::RecreatedAfterRewrite]),
            "{period} s"
        );
        let Some(Verdict::Hold(hold)) = simulation.verdicts.first() else { unreachable!() };
        assert_eq!((&*hold.namespace, &*hold.owner.kind, &*hold.owner.name), ("shop", "StatefulSet", "db"));
        assert_eq!(hold.template, "controller-revision-hash=a");
        for part in
            ["db-0", "3 times", "2026-01-01T0", "kubectl delete hold --namespace shop statefulset-db-"]
        {
            assert!(hold.message.contains(part), "{part}: {}", hold.message);
        }
    }
}

#[test]
fn deleted_replica_set_pods_are_a_loop() {
    for period in PERIODS {
        let mut simulation = Simulation::start();
        let name = |round| format!("web-a-{round}");
        let mut pods: Vec<Value> =
            (0..3).map(|pod| simulation.start_pod(&name(pod), &replica_set("a"))).collect();
        for round in 1..=3 {
            simulation.advance(period);
            // The ReplicaSet replaces a pod while the old one terminates.
            for (number, pod) in pods.iter_mut().enumerate() {
                simulation.request_deletion(pod);
                let new = simulation.start_pod(&name(10 * round + number), &replica_set("a"));
                let old = std::mem::replace(pod, new);
                simulation.advance(30);
                simulation.remove(&old);
            }
        }
        assert_eq!(simulation.reasons().first(), Some(&HoldReason::RecreatedAfterRewrite), "{period} s");
    }
}

#[test]
fn deleted_daemon_set_and_job_pods_are_a_loop() {
    for (controller, period) in [(daemon_set(), 10), (daemon_set(), 1800), (job(), 10), (job(), 1800)] {
        let mut simulation = Simulation::start();
        let rounds = loop_until_verdict(&mut simulation, &controller, period, |round| format!("pod-{round}"));
        assert_eq!(rounds, 3);
    }
}

#[test]
fn bare_pod_deleted_and_created_again_is_a_loop() {
    for period in PERIODS {
        let mut simulation = Simulation::start();
        let rounds = loop_until_verdict(&mut simulation, &bare(), period, |_| "worker".to_owned());
        assert_eq!(rounds, 3, "{period} s");
        let Some(Verdict::Hold(hold)) = simulation.verdicts.first() else { unreachable!() };
        assert_eq!((&*hold.owner.kind, &*hold.owner.name, &*hold.owner.uid), ("Pod", "worker", ""));
        assert!(hold.template.starts_with("spec-hash="), "{}", hold.template);
        assert!(hold.pod_uid.is_some());
    }
}

/// An operator that looks at once deletes a pod before it runs.
#[test]
fn pods_deleted_before_they_run_are_a_loop() {
    let mut simulation = Simulation::start();
    for _ in 0..4 {
        let mut pod = simulation.create("db-0", &stateful_set("a"));
        simulation.advance(1);
        simulation.delete(&mut pod);
    }
    assert_eq!(simulation.reasons(), [HoldReason::RecreatedAfterRewrite]);
}

/// An API server removes an unscheduled pod at once, so no event shows the request.
#[test]
fn pods_removed_at_once_are_a_loop() {
    let mut simulation = Simulation::start();
    for _ in 0..4 {
        let pod = simulation.create("db-0", &stateful_set("a"));
        simulation.advance(10);
        simulation.remove(&pod);
    }
    assert_eq!(simulation.reasons(), [HoldReason::RecreatedAfterRewrite]);
}

/// vcluster changes the image of each of its pods once. The pods have different names.
#[test]
fn second_image_changed_back_is_a_loop() {
    let service = controller("v1", "Service", "vcluster", json!({"pod-template-hash": "a"}));
    for (controller, period) in [(service, 10), (stateful_set("a"), 1800), (bare(), 1800)] {
        let mut simulation = Simulation::start();
        let is_bare = controller.reference.is_null();
        for number in 0..2 {
            simulation.assert_no_hold();
            let name = if is_bare { "worker".to_owned() } else { format!("pod-{number}") };
            let mut pod = simulation.start_pod(&name, &controller);
            simulation.advance(period);
            simulation.change_back(&mut pod);
            if is_bare {
                simulation.delete(&mut pod);
                simulation.advance(24 * 3600);
            }
        }
        assert_eq!(simulation.reasons(), [HoldReason::ImagePatchedBack]);
        let Some(Verdict::Hold(hold)) = simulation.verdicts.first() else { unreachable!() };
        if hold.owner.kind == "Service" {
            assert_eq!(hold.template, "", "the pods of a virtual cluster have many templates");
        }
    }
}

/// The list after an interrupted watch shows the change.
#[test]
fn image_changed_back_during_a_watch_gap_counts() {
    let mut simulation = Simulation::start();
    let mut first = simulation.start_pod("db-0", &stateful_set("a"));
    let mut second = simulation.start_pod("db-1", &stateful_set("a"));
    simulation.change_back(&mut first);
    second["spec"]["containers"][0]["image"] = json!(ORIGINAL);
    let listed: Pod = serde_json::from_value(second).unwrap();
    let mut verdicts = Vec::new();
    for event in [Event::Init, Event::InitApply(listed), Event::InitDone] {
        verdicts.extend(simulation.guard.apply_pod(&event, simulation.now));
    }
    assert!(matches!(&*verdicts, [Verdict::Hold(hold)] if hold.reason == HoldReason::ImagePatchedBack));
}

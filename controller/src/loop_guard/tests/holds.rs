//! Life of a hold, and bounds of the memory.

use super::super::guard::MAX_OWNERS;
use super::*;

/// A simulation in which the `StatefulSet` `db` is on hold.
fn held() -> (Simulation, OwnerHold) {
    let mut simulation = Simulation::start();
    loop_until_verdict(&mut simulation, &stateful_set("a"), 10, |_| "db-0".to_owned());
    let hold = simulation.create_hold();
    (simulation, hold)
}

#[test]
fn new_template_lifts_the_hold_once() {
    let (mut simulation, hold) = held();
    assert_eq!(simulation.guard.holds()[0], (HoldReason::RecreatedAfterRewrite, 1));
    simulation.rewrites = false;
    simulation.advance(60);
    simulation.start_pod("db-0", &stateful_set("a"));
    simulation.assert_no_hold();
    simulation.start_pod("db-1", &stateful_set("b"));
    let lift = simulation.verdicts.pop().unwrap();
    let Verdict::Lift(Lift { namespace, name, uid, template, .. }) = &lift else { unreachable!("{lift:?}") };
    assert_eq!(
        (Some(&**name), &**namespace, uid),
        (hold.metadata.name.as_deref(), "shop", &hold.metadata.uid)
    );
    assert_eq!(template, "controller-revision-hash=b");
    assert_eq!(simulation.verdicts, []);

    // The API server refused: the next event tries again.
    simulation.guard.take_back(lift.clone(), simulation.now);
    simulation.start_pod("db-2", &stateful_set("b"));
    assert_eq!(simulation.verdicts, [lift]);
    simulation.guard.apply_hold(Event::Delete(hold));
    assert_eq!(simulation.guard.holds().map(|(_, count)| count), [0, 0, 0]);
}

#[test]
fn pod_older_than_the_hold_does_not_lift_it() {
    let mut simulation = Simulation::start();
    let old = simulation.start_pod("db-1", &stateful_set("before"));
    loop_until_verdict(&mut simulation, &stateful_set("a"), 10, |_| "db-0".to_owned());
    simulation.create_hold();
    simulation.advance(60);
    simulation.apply(&old);
    simulation.assert_no_hold();
}

#[test]
fn held_owner_collects_no_evidence() {
    let (mut simulation, hold) = held();
    // Pods from before the hold are still rewritten.
    for _ in 0..ROUNDS {
        let mut pod = simulation.start_pod("db-0", &stateful_set("a"));
        simulation.delete(&mut pod);
    }
    simulation.assert_no_hold();
    assert_eq!(simulation.guard.tracked_owners(), 0);

    // Deleted by an administrator: only three more replacements are a loop.
    simulation.guard.apply_hold(Event::Delete(hold));
    let rounds = loop_until_verdict(&mut simulation, &stateful_set("a"), 10, |_| "db-0".to_owned());
    assert_eq!(rounds, 3);
}

/// A simulation in which the `StatefulSet` `db` is in a loop, while no replica leads. Returns the verdict.
fn held_without_leader() -> (Simulation, Verdict) {
    let mut simulation = Simulation::start();
    loop_until_verdict(&mut simulation, &stateful_set("a"), 10, |_| "db-0".to_owned());
    let verdict = simulation.verdicts.pop().unwrap();
    simulation.guard.take_back(verdict.clone(), simulation.now);
    (simulation, verdict)
}

#[test]
fn hold_without_a_leader_stays_until_it_is_created() {
    let (mut simulation, verdict) = held_without_leader();
    simulation.advance(3600);
    simulation.guard.sweep(simulation.now);
    assert_eq!(simulation.guard.unwritten(), [verdict]);
}

#[test]
fn hold_without_a_leader_is_dropped_after_an_hour() {
    let (mut simulation, verdict) = held_without_leader();
    simulation.advance(3600);
    // Another refusal doesn't prolong it.
    simulation.guard.take_back(verdict, simulation.now);
    simulation.advance(1);
    simulation.guard.sweep(simulation.now);
    assert_eq!(simulation.guard.unwritten(), []);
}

#[test]
fn hold_of_the_leader_replaces_the_one_not_written() {
    let (mut simulation, verdict) = held_without_leader();
    simulation.verdicts.push(verdict.clone());
    let hold = simulation.create_hold();
    assert_eq!(simulation.guard.unwritten(), []);

    // The watch of the holds was faster than the verdict.
    simulation.guard.take_back(verdict, simulation.now);
    simulation.guard.apply_hold(Event::Delete(hold));
    assert_eq!(simulation.guard.unwritten(), []);
}

#[test]
fn holds_listed_after_a_restart_are_known() {
    let (_, hold) = held();
    let mut simulation = Simulation::start();
    for event in [Event::Init, Event::InitApply(hold), Event::InitDone] {
        simulation.guard.apply_hold(event);
    }
    assert_eq!(simulation.guard.holds()[0].1, 1);
    simulation.advance(3600);
    simulation.start_pod("db-0", &stateful_set("b"));
    assert!(matches!(&*simulation.verdicts, [Verdict::Lift(_)]));
}

/// After a restart, the watches list in any order.
#[test]
fn pods_listed_before_the_holds_are_compared_with_them() {
    let (_, hold) = held();
    let mut simulation = Simulation::start();
    simulation.advance(3600);
    let new = simulation.start_pod("db-0", &stateful_set("b"));
    let mut namespaces = BTreeSet::new();
    for event in [Event::Init, Event::InitApply(hold), Event::InitDone] {
        namespaces.extend(simulation.guard.apply_hold(event));
    }
    assert_eq!(namespaces, BTreeSet::from(["shop".to_owned()]));
    simulation.assert_no_hold();
    let verdicts = simulation.guard.compare(&[serde_json::from_value(new).unwrap()]);
    assert!(matches!(&*verdicts, [Verdict::Lift(_)]), "{verdicts:?}");
}

#[test]
fn memory_is_bounded_and_old_evidence_goes_first() {
    let mut simulation = Simulation::start();
    for number in 0..MAX_OWNERS + 10 {
        let mut pod = simulation.create(&format!("worker-{number}"), &bare());
        simulation.request_deletion(&mut pod);
        simulation.advance(1);
    }
    assert_eq!(simulation.guard.tracked_owners(), MAX_OWNERS);
    simulation.advance(24 * 3600);
    simulation.guard.sweep(simulation.now);
    assert_eq!(simulation.guard.tracked_owners(), 0);
}

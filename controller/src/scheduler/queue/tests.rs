//! Tests of the queue.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn name(text: &str) -> Arc<str> {
    Arc::from(text)
}

fn look(registry: &str, namespace: &str, kind: Kind, due: Instant) -> Look {
    Look { registry: name(registry), namespace: name(namespace), kind, due }
}

/// Starts everything that can start now.
fn started(queue: &mut Queue, now: Instant) -> Vec<String> {
    std::iter::from_fn(|| match queue.next(now, 0) {
        Next::Start(record, _) => Some(record.to_string()),
        Next::Wait(_) | Next::Idle => None,
    })
    .collect()
}

#[test]
fn namespaces_take_turns() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    for number in 0..100 {
        queue.insert(&name(&format!("a{number:02}")), look("r", "a", Kind::Routine, now), now);
    }
    for record in ["b0", "b1", "c0"] {
        queue.insert(&name(record), look("r", &record[..1], Kind::First, now), now);
    }
    assert_eq!(started(&mut queue, now), ["a00", "b0", "c0", "a01", "b1", "a02", "a03", "a04"]);
}

#[test]
fn positions_of_first_looks_are_the_order_of_their_starts() {
    let (mut queue, start) = (Queue::default(), Instant::now());
    let now = start + SECOND;
    for (due, record) in (0..).zip(["b0", "a0", "a1", "a2", "c0", "c1"]) {
        let due = start + due * SECOND / 10;
        queue.insert(&name(record), look("r", &record[..1], Kind::First, due), now);
    }
    queue.insert(&name("routine"), look("r", "a", Kind::Routine, now + SECOND), now);
    queue.insert(&name("other"), look("other", "a", Kind::First, now), now);
    let positions =
        |queue: &Queue| queue.first_looks("r").iter().map(ToString::to_string).collect::<Vec<_>>();
    let expected = ["a0", "b0", "c0", "a1", "c1", "a2"];
    assert_eq!(positions(&queue), expected);
    let of_new = ["a", "b", "c", "d", "Z"].map(|namespace| queue.ahead_of_new("r", namespace));
    assert_eq!(of_new, [6, 5, 6, 3, 3]);
    for (number, record) in expected.into_iter().enumerate() {
        assert_eq!(positions(&queue), expected[number..]);
        assert!(matches!(queue.next(now, 0), Next::Start(next, _) if &*next == record));
    }
}

#[test]
fn requested_look_is_first_in_its_namespace() {
    let (mut queue, start) = (Queue::default(), Instant::now());
    let now = start + 2 * SECOND;
    queue.insert(&name("routine"), look("r", "a", Kind::Routine, start + SECOND), now);
    queue.insert(&name("first"), look("r", "a", Kind::First, start), now);
    queue.insert(&name("requested"), look("r", "a", Kind::Requested, now), now);
    queue.insert(&name("later"), look("r", "a", Kind::Requested, now + SECOND), now);
    assert_eq!(started(&mut queue, now), ["requested", "first", "routine"]);
    assert_eq!(queue.next(now, 0), Next::Wait(now + SECOND));
    assert_eq!(started(&mut queue, now + SECOND), ["later"]);
    assert_eq!(queue.next(now + SECOND, 0), Next::Idle);
}

#[test]
fn registry_has_limits_of_its_own() {
    let (mut queue, start) = (Queue::default(), Instant::now());
    let now = start + SECOND;
    for number in 0..MAX_LOOKS {
        queue.insert(&name(&format!("slow{number}")), look("slow", "a", Kind::First, start), now);
    }
    queue.insert(&name("other"), look("other", "a", Kind::First, now), now);
    let all = started(&mut queue, now);
    assert_eq!((all.len(), all.last().unwrap().as_str()), (MAX_REGISTRY_LOOKS + 1, "other"));
    queue.release(&name("slow"));
    assert_eq!(started(&mut queue, now).len(), 1);
}

#[test]
fn looks_of_all_registries_are_limited() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    for number in 0..2 * MAX_LOOKS {
        let registry = format!("r{number}");
        queue.insert(&name(&registry), look(&registry, "a", Kind::First, now), now);
    }
    assert_eq!(started(&mut queue, now).len(), MAX_LOOKS);
    assert_eq!(queue.next(now, 0), Next::Idle);
}

#[test]
fn looks_at_one_registry_are_paced_after_a_burst() {
    let (mut queue, start) = (Queue::default(), Instant::now());
    let total = 2 * usize::try_from(BURST).unwrap();
    for number in 0..total {
        queue.insert(&name(&number.to_string()), look("r", "a", Kind::Routine, start), start);
    }
    let (mut now, mut count) = (start, 0);
    while count < total {
        match queue.next(now, 0) {
            Next::Start(_, look) => {
                queue.release(&look.registry);
                count += 1;
            }
            Next::Wait(until) => now = until,
            Next::Idle => panic!("{count} looks"),
        }
    }
    let paced = SPACING * BURST;
    let took = now - start;
    assert!(took <= paced && took + 2 * SPACING >= paced, "{took:?}, {paced:?}");
}

#[test]
fn unreachable_registry_gets_one_probe_at_a_time() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    for number in 0..20 {
        queue.insert(&name(&format!("{number:02}")), look("r", "a", Kind::First, now), now);
    }
    assert_eq!(started(&mut queue, now).len(), MAX_REGISTRY_LOOKS);
    let registry = name("r");
    let opened = (0..MAX_REGISTRY_LOOKS).filter(|_| {
        queue.release(&registry);
        queue.record(&registry, Reachability::Unreachable, now)
    });
    assert_eq!(opened.count(), 1);
    assert!(queue.is_unreachable("r"));
    assert_eq!(queue.first_looks("r").len(), 20 - MAX_REGISTRY_LOOKS);
    assert_eq!(queue.next(now, 0), Next::Wait(now + PROBES.initial));

    let probe = now + PROBES.initial;
    assert_eq!(started(&mut queue, probe).len(), 1);
    assert_eq!(queue.next(probe, 0), Next::Idle);
    queue.release(&registry);
    queue.record(&registry, Reachability::Answered, probe);
    assert_eq!(started(&mut queue, probe).len(), MAX_REGISTRY_LOOKS);
}

#[test]
fn first_looks_wait_while_many_conversions_are_planned() {
    let (mut queue, start) = (Queue::default(), Instant::now());
    let now = start + SECOND;
    queue.insert(&name("first"), look("r", "a", Kind::First, start), now);
    queue.insert(&name("routine"), look("r", "a", Kind::Routine, now), now);
    assert!(matches!(queue.next(now, MAX_PLANNED), Next::Start(record, _) if &*record == "routine"));
    assert_eq!(queue.next(now, MAX_PLANNED), Next::Idle);
    assert!(matches!(queue.next(now, MAX_PLANNED - 1), Next::Start(record, _) if &*record == "first"));
}

#[test]
fn changed_and_removed_records_leave_nothing_behind() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    let (a, b) = (name("a"), name("b"));
    queue.insert(&a, look("r", "x", Kind::Routine, now + SECOND), now);
    queue.insert(&a, look("r", "y", Kind::Requested, now), now);
    queue.insert(&b, look("r", "x", Kind::First, now), now);
    queue.remove(&b);
    assert_eq!(queue.overdue(now), 1);
    assert_eq!(started(&mut queue, now), ["a"]);
    queue.release(&name("r"));
    assert!(queue.looks.is_empty() && queue.registries.is_empty());
}

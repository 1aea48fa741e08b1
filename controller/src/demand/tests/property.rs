//! After any sequence of events, index and notices equal the result of a scan of all objects.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const NAMESPACES: [&str; 3] = ["one", "two", "three"];

/// Random event.
#[derive(Clone, Debug)]
enum Step {
    Namespace { name: &'static str, is_opted_in: bool },
    Set { key: Key, requirements: Requirements },
    Remove { key: Key },
    BeginList { kind: Kind },
    EndList { kind: Kind },
}

/// All objects, without an index.
#[derive(Debug, Default)]
struct Scan {
    opted_in: BTreeSet<&'static str>,
    objects: BTreeMap<Key, (Requirements, u32)>,
    lists: BTreeMap<Kind, u32>,
    synced: BTreeSet<Kind>,
    pod_revisions: HashSet<Revision>,
    requested: BTreeMap<Reference, Instant>,
}

/// Credentials and pull policy of a consumer.
type Pull = (Access, bool);

impl Scan {
    /// Applies a step to the objects. Returns the sources at which the step requests a look.
    fn apply(&mut self, step: Step, time: Instant) -> BTreeSet<Reference> {
        let mut looks = BTreeSet::new();
        match step {
            Step::Namespace { name, is_opted_in: true } => {
                if self.opted_in.insert(name) {
                    looks.extend(self.inside(name));
                }
            }
            Step::Namespace { name, is_opted_in: false } => drop(self.opted_in.remove(name)),
            Step::Set { key, requirements } => {
                let list = self.lists.get(&key.kind).copied().unwrap_or_default();
                let (kind, revision) = (key.kind, requirements.revision);
                let is_opted_in = self.opted_in.contains(&*key.namespace);
                let sources: Vec<Reference> = requirements.sources.keys().cloned().collect();
                let old = if sources.is_empty() {
                    self.objects.remove(&key)
                } else {
                    self.objects.insert(key, (requirements, list))
                };
                let is_new = match revision {
                    _ if sources.is_empty() => false,
                    None => false,
                    Some(revision) if kind == Kind::Pod => self.pod_revisions.insert(revision),
                    _ => old.is_none_or(|(old, _)| old.revision != revision),
                };
                if is_new && self.synced.contains(&kind) && is_opted_in {
                    looks.extend(sources);
                }
            }
            Step::Remove { key } => drop(self.objects.remove(&key)),
            Step::BeginList { kind } => *self.lists.entry(kind).or_default() += 1,
            Step::EndList { kind } => {
                let current = self.lists.get(&kind).copied().unwrap_or_default();
                self.objects.retain(|key, (_, list)| key.kind != kind || *list == current);
                self.synced.insert(kind);
            }
        }
        let used: BTreeSet<Reference> = self
            .objects
            .values()
            .flat_map(|(requirements, _)| requirements.sources.keys().cloned())
            .collect();
        self.requested.retain(|source, _| used.contains(source));
        self.requested.extend(looks.iter().map(|source| (source.clone(), time)));
        looks
    }

    fn inside(&self, namespace: &str) -> BTreeSet<Reference> {
        let objects = self.objects.iter().filter(|(key, _)| key.namespace == namespace);
        objects.flat_map(|(_, (requirements, _))| requirements.sources.keys().cloned()).collect()
    }

    fn enabled(&self) -> impl Iterator<Item = &Requirements> {
        let objects = self.objects.iter().filter(|(key, _)| self.opted_in.contains(&*key.namespace));
        objects.map(|(_, (requirements, _))| requirements)
    }

    /// The consumers of every source.
    fn consumers(&self) -> BTreeMap<Reference, BTreeSet<Pull>> {
        let mut found = BTreeMap::<_, BTreeSet<Pull>>::new();
        for requirements in self.enabled() {
            for (source, always) in &requirements.sources {
                found.entry(source.clone()).or_default().insert((requirements.access.clone(), *always));
            }
        }
        found
    }

    /// Names of the event targets of a source.
    fn targets(&self, source: &Reference) -> Vec<String> {
        let consumers = self.enabled().filter(|requirements| requirements.sources.contains_key(source));
        consumers.filter_map(|requirements| Some(requirements.event_target.as_ref()?.name.clone())).collect()
    }
}

fn key() -> impl Strategy<Value = Key> {
    let kind = prop::sample::select(vec![Kind::Pod, Kind::Deployment, Kind::Job]);
    (kind, prop::sample::select(&NAMESPACES[..]), 0..12_u8).prop_map(|(kind, namespace, number)| Key {
        kind,
        namespace: namespace.to_owned(),
        name: format!("{kind:?}-{number}"),
    })
}

fn set() -> impl Strategy<Value = Step> {
    let source =
        (0..4_u8).prop_map(|number| format!("r.example/app:v{number}").parse::<Reference>().unwrap());
    let sources = prop::collection::btree_map(source, any::<bool>(), 0..3);
    let account = prop::sample::select(&["default", "builder"][..]);
    let secrets = prop::collection::btree_set(Just("pull".to_owned()), 0..2);
    let revision = prop::option::of((0..3_u8).prop_map(Revision::of));
    (key(), sources, account, secrets, revision, any::<bool>()).prop_map(
        |(key, sources, account, pull_secrets, revision, is_target)| {
            let target = EventTarget { kind: key.kind, name: key.name.clone(), uid: None };
            let access = Access {
                namespace: key.namespace.clone(),
                service_account: account.to_owned(),
                pull_secrets,
            };
            let event_target = is_target.then_some(target);
            Step::Set { key, requirements: Requirements { sources, access, revision, event_target } }
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let namespace = (prop::sample::select(&NAMESPACES[..]), any::<bool>());
    let kind = prop::sample::select(vec![Kind::Pod, Kind::Deployment, Kind::Job]);
    prop_oneof![
        1 => namespace.prop_map(|(name, is_opted_in)| Step::Namespace { name, is_opted_in }),
        8 => set(),
        3 => key().prop_map(|key| Step::Remove { key }),
        1 => kind.clone().prop_map(|kind| Step::BeginList { kind }),
        1 => kind.prop_map(|kind| Step::EndList { kind }),
    ]
}

/// Applies a step as the events do.
fn apply_step(demand: &mut Demand, step: Step, time: Instant) -> Changes {
    match step {
        Step::Namespace { name, is_opted_in } => {
            let event = Event::Apply(namespace(name, is_opted_in.then_some(keys::ENABLED)));
            demand.apply_namespace(event, &BTreeSet::new(), time)
        }
        Step::Set { key, requirements } => {
            let is_asked = demand.workloads.are_synced(&[key.kind]) && demand.is_opted_in(&key.namespace);
            demand.workloads.set(&key, requirements, is_asked.then_some(time))
        }
        Step::Remove { key } => demand.workloads.remove(&key),
        Step::BeginList { kind } => {
            demand.workloads.begin_list(kind);
            Changes::default()
        }
        Step::EndList { kind } => demand.workloads.end_list(kind),
    }
}

fn compare(demand: &Demand, scan: &Scan, consumers: &BTreeMap<Reference, BTreeSet<Pull>>) {
    let sources: BTreeSet<Reference> = demand.sources().iter().map(|source| (**source).clone()).collect();
    assert_eq!(sources, consumers.keys().cloned().collect());
    for number in 0..4 {
        let source = format!("r.example/app:v{number}").parse().unwrap();
        let found = demand.consumers(&source);
        let pulls: BTreeSet<Pull> = found
            .iter()
            .map(|consumer| {
                let Consumer { namespace, pull_secrets, service_account, pulls_always, .. } =
                    consumer.clone();
                (Access { namespace, service_account, pull_secrets }, pulls_always)
            })
            .collect();
        assert_eq!(pulls, consumers.get(&source).cloned().unwrap_or_default(), "{source}");
        assert_eq!(demand.is_in_demand(&source), consumers.contains_key(&source));
        assert_eq!(demand.requested_look(&source), scan.requested.get(&source).copied(), "{source}");
        let targets: Vec<String> =
            found.into_iter().filter_map(|consumer| consumer.event_target?.name).collect();
        let expected = scan.targets(&source);
        assert_eq!(targets.len(), expected.len().min(10), "{source}");
        assert!(targets.iter().all(|target| expected.contains(target)), "{targets:?} {expected:?}");
    }
}

proptest! {
    #[test]
    fn index_and_notices_equal_a_scan(steps in prop::collection::vec(step(), 1..200)) {
        let (mut demand, mut scan) = (Demand::default(), Scan::default());
        let _ = demand.apply_namespace(Event::InitDone, &BTreeSet::new(), Instant::now());
        let start = Instant::now();
        for (number, step) in (0_u64..).zip(steps) {
            let time = start + Duration::from_secs(number);
            let before = scan.consumers();
            let looks = scan.apply(step.clone(), time);
            let after = scan.consumers();
            let all = before.keys().chain(after.keys()).filter(|source| before.get(*source) != after.get(*source));
            let expected: BTreeSet<Reference> = all.cloned().chain(looks).collect();
            let changes = apply_step(&mut demand, step, time);
            let notified: BTreeSet<Reference> = changes.sources.iter().map(|source| (**source).clone()).collect();
            prop_assert_eq!(notified, expected);
            compare(&demand, &scan, &after);
        }
        for namespace in NAMESPACES {
            let _ = apply_step(&mut demand, Step::Namespace { name: namespace, is_opted_in: false }, start);
        }
        for kind in [Kind::Pod, Kind::Deployment, Kind::Job] {
            demand.workloads.begin_list(kind);
            let _ = demand.workloads.end_list(kind);
        }
        prop_assert_eq!(demand.workloads.len(), 0, "no memory is left");
    }
}

use std::collections::HashSet;
use std::pin::pin;
use std::time::Instant;

use futures::StreamExt as _;
use zstart_core::Reference;

use super::*;
use crate::demand::{Key, Kind, Requirements};

/// Adds a pod that runs `source`.
fn add(demand: &SharedDemand, source: &str) {
    let key = Key { kind: Kind::Pod, namespace: "shop".to_owned(), name: source.to_owned() };
    let mut requirements =
        Requirements { sources: [(reference(source), false)].into(), ..Requirements::default() };
    requirements.access.namespace.clone_from(&key.namespace);
    demand.change(|demand| demand.workloads.set(&key, requirements, Some(Instant::now())));
}

fn opted_in() -> SharedDemand {
    let demand = SharedDemand::default();
    demand.change(|demand| {
        demand.workloads.index.opt("shop", true);
        Changes::default()
    });
    demand
}

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn of(sources: &[&str]) -> HashSet<Arc<Reference>> {
    sources.iter().map(|source| Arc::new(reference(source))).collect()
}

#[tokio::test(start_paused = true)]
async fn changes_of_200_milliseconds_are_one_item() {
    let demand = opted_in();
    add(&demand, "early");
    let (mut changes, start) = (pin!(demand.changes()), tokio::time::Instant::now());
    add(&demand, "late");
    let first = changes.next().await.unwrap();
    assert_eq!((first.sources, first.platforms), (of(&["early", "late"]), true));
    assert_eq!(start.elapsed(), DEBOUNCE);
    add(&demand, "app");
    let later = async {
        tokio::time::sleep(DEBOUNCE / 2).await;
        add(&demand, "web");
        tokio::time::sleep(DEBOUNCE).await;
        add(&demand, "db");
    };
    let (second, ()) = tokio::join!(changes.next(), later);
    assert_eq!(second.unwrap().sources, of(&["app", "web"]));
    assert_eq!(changes.next().await.unwrap(), Changes { sources: of(&["db"]), platforms: false });
    let idle = tokio::time::timeout(Duration::from_hours(1), changes.next()).await;
    assert!(idle.is_err(), "nothing changed");
}

#[tokio::test(start_paused = true)]
async fn changes_outlive_a_dropped_stream() {
    let demand = opted_in();
    add(&demand, "app");
    {
        let mut changes = pin!(demand.changes());
        assert!(futures::poll!(changes.next()).is_pending());
        tokio::time::advance(DEBOUNCE / 2).await;
        assert!(futures::poll!(changes.next()).is_pending());
    }
    add(&demand, "web");
    let changes = pin!(demand.changes()).next().await.unwrap();
    assert_eq!(changes.sources, of(&["app", "web"]));
}

#[test]
fn changes_are_not_collected_without_a_receiver() {
    let demand = opted_in();
    add(&demand, "app");
    assert_eq!(lock(&demand.state).pending, None);
}

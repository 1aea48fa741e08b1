use kube::runtime::watcher::Event;
use zstart_process::health::Health as _;

use super::*;
use crate::fixture::{key_pair, key_pair_for_years, secret};

#[test]
fn readiness_needs_certificate_and_lists_and_ends_on_drain() {
    let snapshot = Arc::new(Snapshot::default());
    let metrics = Arc::new(Metrics::new(Arc::clone(&snapshot), zstart_admission::fixture::ages()));
    let certificate = Arc::new(Certificate::default());
    let health = Health::new(Arc::clone(&snapshot), Arc::clone(&certificate), Arc::clone(&metrics));
    assert_eq!(health.missing().as_deref(), Some("no serving certificate yet"));
    let (text, key) = key_pair_for_years(2020, 2021);
    certificate.update(&secret(&text, &key), "tls", &metrics);
    let expired = "the serving certificate expired at 2021-01-01T00:00:00Z";
    assert_eq!(health.missing().as_deref(), Some(expired));
    let (text, key) = key_pair();
    certificate.update(&secret(&text, &key), "tls", &metrics);
    snapshot.apply_namespace(Event::InitDone);
    snapshot.apply_record(Event::InitDone);
    assert!(health.missing().is_some_and(|missing| missing.contains("nodes")));
    snapshot.apply_node(Event::InitDone);
    snapshot.apply_replica_set(Event::InitDone);
    snapshot.apply_revision(Event::InitDone);
    snapshot.apply_hold(Event::InitDone);
    snapshot.apply_sweep(Event::InitDone);
    assert_eq!(health.missing(), None);
    health.drain();
    assert_eq!(health.missing().as_deref(), Some("shutting down"));
}

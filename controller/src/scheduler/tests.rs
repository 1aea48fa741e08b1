//! Steps of the scheduler between two requests. No test sends one.

use std::path::Path;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Client;
use kube::core::Status;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use zstart_core::keys;
use zstart_registry::{RegistryClient, RegistryOptions};

use super::*;
use crate::config::Config;
use crate::credentials::OwnCredentials;
use crate::demand::LookTime;
use crate::events::Events;
use crate::leader::Leadership;

/// A scheduler whose API server refuses connections. The namespace `shop` is opted in.
fn scheduler(config: &str) -> Scheduler {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
    let config = Config::parse(Path::new("config.yaml"), config).unwrap();
    let registries = RegistryClient::new(RegistryOptions::default()).unwrap();
    let events = Events::new(client.clone(), "zstart-controller-0".to_owned());
    let (own, shutdown) = (OwnCredentials::default(), CancellationToken::new());
    let context = Context::new(client, Leadership::default(), config, own, registries, events, shutdown);
    let namespace: PartialObjectMeta<Namespace> =
        read(json!({"metadata": {"name": "shop", "labels": {keys::REWRITE: keys::ENABLED}}}));
    context
        .demand
        .change(|demand| demand.apply_namespace(Event::Apply(namespace), &BTreeSet::new(), Instant::now()));
    let (freed, _) = mpsc::unbounded_channel();
    Scheduler::new(Arc::new(context), freed)
}

fn read<T: serde::de::DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).unwrap()
}

fn source(tag: &str) -> Source {
    Source::new(format!("r.example/app:{tag}").parse().unwrap())
}

fn name_of(tag: &str) -> RecordName {
    record_name(&source(tag)).into()
}

/// A record of the controller's. `unused_since` is the time of its annotation.
fn record(tag: &str, unused_since: Option<&str>) -> PartialObjectMeta<ImageConversion> {
    let annotations = unused_since.map(|since| json!({keys::UNUSED_SINCE: since}));
    read(json!({"metadata": {
        "name": &*name_of(tag), "uid": tag, "generation": 1, "annotations": annotations,
        "managedFields": [{"manager": keys::CONTROLLER, "operation": "Apply"}],
    }}))
}

impl Scheduler {
    fn list(&mut self, records: impl IntoIterator<Item = PartialObjectMeta<ImageConversion>>) {
        self.apply(Event::Init);
        for record in records {
            self.apply(Event::InitApply(record));
        }
        self.apply(Event::InitDone);
    }

    /// Starts or ends a pod that runs the source. The scheduler gets no notice.
    fn set_used(&self, tag: &str, is_used: bool) {
        let pod: Pod = read(json!({
            "metadata": {"name": tag, "namespace": "shop"},
            "spec": {"containers": [{"name": "app", "image": source(tag).to_string()}]},
        }));
        let event = if is_used { Event::Apply(pod) } else { Event::Delete(pod) };
        let time = LookTime::after_change(Instant::now(), Timestamp::now());
        self.context.demand.change(|demand| demand.apply_workload(event, &BTreeSet::new(), time));
    }

    /// Gives notice of changed consumers of the source.
    fn notice(&mut self, tag: &str) {
        self.apply_changes(&Changes { sources: [source(tag)].into(), platforms: false });
    }

    fn state(&self, tag: &str) -> &State {
        &self.entries[&name_of(tag)].state
    }
}

#[tokio::test]
async fn record_in_use_again_is_not_deleted() {
    let mut scheduler = scheduler("keepRecordsFor: 1ns");
    scheduler.list([record("v1", Some("2026-01-01T00:00:00Z"))]);
    scheduler.notice("v1");
    assert!(matches!(scheduler.state("v1"), State::Writing(Write::Delete { .. })));
    // The notice of the new pod is still on its way.
    scheduler.set_used("v1", true);
    scheduler.start_write();
    assert!(scheduler.writes.is_empty(), "no deletion was sent");
    assert!(matches!(scheduler.state("v1"), State::Writing(Write::MarkUnused { since: None, .. })));
}

#[tokio::test]
async fn denied_deletion_pauses_no_look() {
    let mut scheduler = scheduler("keepRecordsFor: 1ns");
    scheduler.set_used("v2", true);
    for tag in ["v1", "v2"] {
        scheduler.notice(tag);
    }
    scheduler.list([record("v1", Some("2026-01-01T00:00:00Z")), record("v2", None)]);
    assert!(matches!(scheduler.state("v1"), State::Writing(Write::Delete { .. })));
    scheduler.to_write.clear();
    let denied = Status::failure("imageconversions is forbidden", "Forbidden").with_code(403);
    scheduler.finish_write(Ok((name_of("v1"), Err(kube::Error::Api(Box::new(denied))))));

    let now = Instant::now();
    assert_eq!(scheduler.api_server.may_start_at(now, 0), Some(now), "looks go on");
    let next = scheduler.queue.next(now, 0);
    assert!(matches!(&next, Next::Start(name, _) if *name == name_of("v2")), "{next:?}");
    assert!(scheduler.to_write.is_empty(), "the deletion isn't sent again at once");
    let next = scheduler.unused.first().map(|(at, _)| at.duration_since(now));
    assert!(next.is_some_and(|delay| delay > Duration::from_mins(4)), "{next:?}");
}

/// Names and positions that are to be written.
fn position_writes(scheduler: &Scheduler) -> Vec<(RecordName, usize)> {
    let position = |name: &RecordName| match &scheduler.entries[name].state {
        State::Writing(Write::Position(position)) => Some((Arc::clone(name), position.ahead)),
        _ => None,
    };
    scheduler.to_write.iter().filter_map(|(_, name)| position(name)).collect()
}

#[tokio::test]
async fn positions_are_written_once_a_second_and_keep_the_order() {
    let mut scheduler = scheduler("");
    scheduler.list([]);
    let tags: Vec<String> = (0..25).map(|number| format!("v{number}")).collect();
    for tag in &tags {
        scheduler.set_used(tag, true);
        scheduler.notice(tag);
        scheduler.to_write.clear();
        let created = RecordMeta::of(&record(tag, None).metadata);
        scheduler.finish_write(Ok((name_of(tag), Ok(Written::Created(created)))));
    }
    let order = scheduler.queue.first_looks("r.example");
    assert_eq!(order, tags.iter().map(|tag| name_of(tag)).collect::<Vec<_>>());

    let now = Instant::now();
    scheduler.write_positions(now);
    assert_eq!(position_writes(&scheduler), [], "the wait is shorter than a minute");
    let mut now = now + Duration::from_mins(1);
    let mut written = Vec::new();
    for _ in 0..4 {
        scheduler.write_positions(now);
        let writes = position_writes(&scheduler);
        assert!(writes.len() <= 10, "{writes:?}");
        scheduler.to_write.clear();
        for (name, _) in &writes {
            scheduler.finish_write(Ok((Arc::clone(name), Ok(Written::Waiting))));
        }
        assert_eq!(scheduler.queue.first_looks("r.example"), order, "a write costs no place");
        written.extend(writes);
        now += COUNT_INTERVAL;
    }
    written.sort_by_key(|(_, ahead)| *ahead);
    assert_eq!(written, order.iter().cloned().zip(0..25).collect::<Vec<_>>(), "each once");

    // Half of them are looked at.
    now += Duration::from_mins(1);
    while let Next::Start(name, _) = scheduler.queue.next(now, 0)
        && name != order[12]
    {
        scheduler.queue.release(&"r.example".into());
    }
    scheduler.write_positions(now);
    let writes: Vec<usize> = position_writes(&scheduler).into_iter().map(|(_, ahead)| ahead).collect();
    assert!(writes.contains(&0) && writes.iter().all(|ahead| *ahead < 12), "{writes:?}");

    // The API server rejects a message: the look goes on.
    let name = &order[13];
    let rejected = Status::failure("no", "Invalid").with_code(422);
    scheduler.finish_write(Ok((Arc::clone(name), Err(kube::Error::Api(Box::new(rejected))))));
    assert_eq!(scheduler.queue.first_looks("r.example").first(), Some(name));
}

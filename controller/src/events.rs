//! Events on records, on the consumers of their sources, and on owners that are on hold.
//!
//! Each event is an object of its own, named after the image: events about several images of one workload don't
//! merge. Callers publish changes only, so that the events need no memory.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::runtime::events::EventType;
use kube::{Api, Client, Resource as _, ResourceExt as _};
use zstart_core::owner_hold::HoldReason;
use zstart_core::record::RecordReason;
use zstart_core::{ImageConversion, keys};

use crate::demand::Consumer;

/// Maximum number of consumers that get an event. The record always gets one.
const MAX_CONSUMERS: usize = 10;
/// Namespace of events about objects without a namespace.
const CLUSTER_NAMESPACE: &str = "default";
/// Namespace of events about records. They tell about images of all tenants, and a tenant may read events of the
/// namespace `default`. The API server accepts these two namespaces (`pkg/apis/core/validation/events.go`,
/// `legacyValidateEvent`), and `kubectl describe` finds an event in either.
const RECORD_NAMESPACE: &str = "kube-system";

/// Publishes events.
pub(crate) struct Events {
    client: Client,
    /// Name of the reporting pod.
    instance: String,
    /// Makes names unique that are given at the same time.
    published: AtomicU64,
}

/// An event about an object.
struct Report<'a> {
    /// Front of the event's name.
    subject: &'a str,
    type_: EventType,
    reason: &'a str,
    action: &'a str,
    note: &'a str,
    /// Identity of the content; `None` for an event that isn't published twice.
    id: Option<u64>,
}

/// Reason of the event on the owner of rewritten pods. Users match on the word.
const USES_VARIANT: &str = "UsesVariant";

impl Events {
    /// `instance` is the name of the reporting pod.
    pub(crate) fn new(client: Client, instance: String) -> Self {
        Self { client, instance, published: AtomicU64::default() }
    }

    /// Publishes an event on the record and on these consumers.
    pub(crate) async fn publish(
        &self,
        record: &ImageConversion,
        consumers: &[Consumer],
        type_: EventType,
        reason: RecordReason,
        note: &str,
    ) {
        let subject = &record.name_any();
        let report = Report { subject, type_, reason: reason.as_str(), action: "Convert", note, id: None };
        self.publish_in(RECORD_NAMESPACE, &report, &record.object_ref(&())).await;
        let targets = consumers.iter().flat_map(|consumer| &consumer.event_target);
        for object in targets.take(MAX_CONSUMERS) {
            self.publish_on(&report, object).await;
        }
    }

    /// Publishes a warning on an owner that was put on hold.
    pub(crate) async fn publish_hold(&self, owner: &ObjectReference, reason: HoldReason, note: &str) {
        let subject = owner.name.as_deref().unwrap_or("owner");
        let (type_, reason) = (EventType::Warning, reason.as_str());
        self.publish_on(&Report { subject, type_, reason, action: "Hold", note, id: None }, owner).await;
    }

    /// Publishes an event on a pod that can't pull its variant.
    pub(crate) async fn publish_heal(&self, pod: &ObjectReference, reason: &str, note: &str) {
        let subject = pod.name.as_deref().unwrap_or("pod");
        let type_ = EventType::Warning;
        self.publish_on(&Report { subject, type_, reason, action: "Heal", note, id: None }, pod).await;
    }

    /// Publishes an event on the owner of pods that use a variant. Nothing is published if an event of this `id` exists.
    pub(crate) async fn publish_use(&self, owner: &ObjectReference, id: u64, note: &str) {
        let subject = owner.name.as_deref().unwrap_or("owner");
        let (type_, reason, action) = (EventType::Normal, USES_VARIANT, "Rewrite");
        self.publish_on(&Report { subject, type_, reason, action, note, id: Some(id) }, owner).await;
    }

    async fn publish_on(&self, report: &Report<'_>, object: &ObjectReference) {
        let namespace = object.namespace.as_deref().unwrap_or(CLUSTER_NAMESPACE);
        self.publish_in(namespace, report, object).await;
    }

    async fn publish_in(&self, namespace: &str, report: &Report<'_>, object: &ObjectReference) {
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let event = self.event(report, object, namespace, Timestamp::now());
        if let Err(error) = events.create(&PostParams::default(), &event).await {
            // Events are best effort: the record's condition has the facts.
            tracing::debug!(%error, object = ?object.name, "failed to publish an event");
        }
    }

    fn event(&self, report: &Report<'_>, object: &ObjectReference, namespace: &str, now: Timestamp) -> Event {
        let Report { subject, type_, reason, action, note, id } = *report;
        let number = self.published.fetch_add(1, Ordering::Relaxed);
        // The form of client-go's names, and a number.
        let name = match id {
            Some(id) => format!("{subject}.{id:016x}"),
            None => format!("{subject}.{:x}.{number:x}", now.as_microsecond()),
        };
        let type_ = match type_ {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        };
        Event {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            reporting_controller: Some(keys::CONTROLLER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            action: Some(action.to_owned()),
            reason: Some(reason.to_owned()),
            regarding: Some(object.clone()),
            type_: Some(type_.to_owned()),
            note: Some(truncated(note)),
            ..Event::default()
        }
    }
}

/// Truncates a note: the API server accepts at most 1,024 bytes.
fn truncated(note: &str) -> String {
    const MAX_BYTES: usize = 1000;
    if note.len() <= MAX_BYTES {
        return note.to_owned();
    }
    let end = (0..=MAX_BYTES).rev().find(|end| note.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &note[..end])
}

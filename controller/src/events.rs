//! Events on records, on the consumers of their sources, and on owners that are on hold.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource as _};
use zstart_core::owner_hold::HoldReason;
use zstart_core::record::RecordReason;
use zstart_core::{ImageConversion, keys};

use crate::demand::Consumer;

/// Maximum number of consumers that get an event. The record always gets one.
const MAX_CONSUMERS: usize = 10;

/// Publishes events. `kube`'s recorder turns repeated events into a series.
#[derive(Clone)]
pub(crate) struct Events {
    recorder: Arc<Recorder>,
}

impl Events {
    /// `instance` is the name of the reporting pod.
    pub(crate) fn new(client: Client, instance: String) -> Self {
        let reporter = Reporter { controller: keys::CONTROLLER.to_owned(), instance: Some(instance) };
        Self { recorder: Arc::new(Recorder::new(client, reporter)) }
    }

    /// Publishes an event on the record and on its consumers.
    pub(crate) async fn publish(
        &self,
        record: &ImageConversion,
        consumers: &[Consumer],
        type_: EventType,
        reason: RecordReason,
        note: &str,
    ) {
        let event = Event {
            type_,
            reason: reason.as_str().to_owned(),
            note: Some(truncated(note)),
            action: "Convert".to_owned(),
            secondary: None,
        };
        self.publish_on(&event, &record.object_ref(&())).await;
        let targets = consumers.iter().flat_map(|consumer| &consumer.event_target);
        for object in targets.take(MAX_CONSUMERS) {
            self.publish_on(&event, object).await;
        }
    }

    /// Publishes a warning on an owner that was put on hold.
    pub(crate) async fn publish_hold(&self, owner: &ObjectReference, reason: HoldReason, note: &str) {
        let event = Event {
            type_: EventType::Warning,
            reason: reason.as_str().to_owned(),
            note: Some(truncated(note)),
            action: "Hold".to_owned(),
            secondary: None,
        };
        self.publish_on(&event, owner).await;
    }

    /// Publishes an event on a pod that can't pull its variant.
    pub(crate) async fn publish_heal(&self, pod: &ObjectReference, reason: &str, note: &str) {
        let event = Event {
            type_: EventType::Warning,
            reason: reason.to_owned(),
            note: Some(truncated(note)),
            action: "Heal".to_owned(),
            secondary: None,
        };
        self.publish_on(&event, pod).await;
    }

    async fn publish_on(&self, event: &Event, object: &ObjectReference) {
        if let Err(error) = self.recorder.publish(event, object).await {
            // Events are best effort: the record's condition has the facts.
            tracing::debug!(%error, object = ?object.name, "failed to publish an event");
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

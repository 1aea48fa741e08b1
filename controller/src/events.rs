//! Events: on the record, and on those who want its image.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource as _};
use zstart_core::record::RecordReason;
use zstart_core::{ImageConversion, keys};

use crate::demand::Consumer;

/// How many of those who want an image get an event. The record has it in any case.
const MAX_CONSUMERS: usize = 10;

/// Publishes events. Repeated ones become a series (`kube`'s recorder sees to that).
#[derive(Clone)]
pub(crate) struct Events {
    recorder: Arc<Recorder>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As it should.
    Normal,
    /// Somebody should look.
    Warning,
}

impl Events {
    /// `instance` is the pod that reports.
    pub(crate) fn new(client: Client, instance: String) -> Self {
        let reporter = Reporter { controller: keys::CONTROLLER.to_owned(), instance: Some(instance) };
        Self { recorder: Arc::new(Recorder::new(client, reporter)) }
    }

    /// Publishes one on the record and on those who want it.
    pub(crate) async fn publish(
        &self,
        record: &ImageConversion,
        consumers: &[Consumer],
        kind: Kind,
        reason: RecordReason,
        note: &str,
    ) {
        let event = Event {
            type_: match kind {
                Kind::Normal => EventType::Normal,
                Kind::Warning => EventType::Warning,
            },
            reason: reason.as_str().to_owned(),
            note: Some(truncated(note)),
            action: "Convert".to_owned(),
            secondary: None,
        };
        self.publish_on(&event, &record.object_ref(&())).await;
        for object in consumers.iter().flat_map(|consumer| &consumer.event_target).take(MAX_CONSUMERS) {
            self.publish_on(&event, object).await;
        }
    }

    async fn publish_on(&self, event: &Event, object: &ObjectReference) {
        if let Err(error) = self.recorder.publish(event, object).await {
            // An event is a courtesy: the condition says the same.
            tracing::debug!(%error, object = ?object.name, "could not publish an event");
        }
    }
}

/// The API server takes notes of at most 1,024 bytes.
fn truncated(note: &str) -> String {
    const MAX_BYTES: usize = 1000;
    if note.len() <= MAX_BYTES {
        return note.to_owned();
    }
    let end = (0..=MAX_BYTES).rev().find(|end| note.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &note[..end])
}

//! Readiness of the webhook.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;

use crate::metrics::Metrics;
use crate::tls::Certificate;
use zstart_admission::snapshot::Snapshot;

#[cfg(test)]
mod tests;

/// State that readiness depends on.
pub(crate) struct Health {
    snapshot: Arc<Snapshot>,
    certificate: Arc<Certificate>,
    metrics: Arc<Metrics>,
    draining: AtomicBool,
}

impl Health {
    pub(crate) fn new(snapshot: Arc<Snapshot>, certificate: Arc<Certificate>, metrics: Arc<Metrics>) -> Self {
        Self { snapshot, certificate, metrics, draining: AtomicBool::new(false) }
    }

    /// Makes the webhook unready, so that the Service stops routing reviews to this pod.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }
}

impl zstart_process::health::Health for Health {
    /// The HTTPS port accepts connections before the first readiness probe.
    fn missing(&self) -> Option<Cow<'static, str>> {
        if self.draining.load(Ordering::Acquire) {
            Some("shutting down".into())
        } else if let Some(problem) = self.certificate.problem(Timestamp::now()) {
            Some(problem)
        } else if !self.snapshot.is_synced() {
            Some(
                "the first list of namespaces, records, nodes or revisions of workloads isn\'t complete"
                    .into(),
            )
        } else {
            None
        }
    }

    fn metrics(&self) -> Result<String, fmt::Error> {
        self.metrics.text()
    }
}

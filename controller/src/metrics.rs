//! What is counted. Few series: reasons are a closed list, and no image is a label.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use zstart_core::record::RecordReason;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// The counters, and the registry that prints them.
pub(crate) struct Metrics {
    registry: Registry,
    attempts: Family<ReasonLabel, Counter>,
    source_bytes: Counter,
    variant_bytes: Counter,
    seconds: Histogram,
    running: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("zstart_controller");
        let attempts = Family::default();
        registry.register("attempts", "Looks at a source, by how they ended", attempts.clone());
        let source_bytes = Counter::default();
        let help = "Compressed layers that were converted, before";
        registry.register_with_unit("converted_source", help, Unit::Bytes, source_bytes.clone());
        let variant_bytes = Counter::default();
        let help = "Compressed layers that were converted, after";
        registry.register_with_unit("converted_variant", help, Unit::Bytes, variant_bytes.clone());
        let seconds = Histogram::new([1.0, 3.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1800.0]);
        registry.register_with_unit("conversion", "Time of a conversion", Unit::Seconds, seconds.clone());
        let running = Gauge::default();
        registry.register("conversions_running", "Conversions under way", running.clone());
        Self { registry, attempts, source_bytes, variant_bytes, seconds, running }
    }

    pub(crate) fn count_attempt(&self, reason: RecordReason) {
        self.attempts.get_or_create(&ReasonLabel { reason: reason.as_str() }).inc();
    }

    pub(crate) fn count_conversion(&self, source_bytes: u64, variant_bytes: u64, took: Duration) {
        self.source_bytes.inc_by(source_bytes);
        self.variant_bytes.inc_by(variant_bytes);
        self.seconds.observe(took.as_secs_f64());
    }

    /// Counts a conversion as running until the guard is dropped.
    pub(crate) fn start_conversion(&self) -> RunningConversion {
        self.running.inc();
        RunningConversion(self.running.clone())
    }

    /// Everything, as Prometheus scrapes it.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// A conversion that is under way.
pub(crate) struct RunningConversion(Gauge);

impl Drop for RunningConversion {
    fn drop(&mut self) {
        self.0.dec();
    }
}

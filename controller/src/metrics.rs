//! Metrics. The number of series is small: reasons are a closed list, and no label names an image. Every series exists
//! from the start: a counter that appears with its first event shows no increase for it.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use zstart_core::owner_hold::HoldReason;
use zstart_core::pull_failure::PullFailure;
use zstart_core::record::RecordReason;
use zstart_process::dropped_log_lines::DroppedLogLines;

use crate::governor::HeldBack;
use crate::pull_times::PullMetrics;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CureLabels {
    cure: &'static str,
    cause: &'static str,
}

/// Cure of an image, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CureLabel {
    PutBack,
    Evict,
    Leave,
}

impl CureLabel {
    const ALL: [Self; 3] = [Self::PutBack, Self::Evict, Self::Leave];

    fn as_str(self) -> &'static str {
        match self {
            Self::PutBack => "PutBack",
            Self::Evict => "Evict",
            Self::Leave => "Leave",
        }
    }
}

/// A family with a series for each of the reasons.
fn by_reason<M: Default>(reasons: impl IntoIterator<Item = &'static str>) -> Family<ReasonLabel, M> {
    let family = Family::<ReasonLabel, M>::default();
    for reason in reasons {
        drop(family.get_or_create(&ReasonLabel { reason }));
    }
    family
}

/// Work that waits.
#[derive(Clone, Debug, Default)]
struct Backlog {
    looks: Gauge,
    conversions: Gauge,
    unreachable_registries: Gauge,
}

/// Content of the freshness sweep.
#[derive(Clone, Debug, Default)]
struct Sweep {
    confirmed: Gauge,
    unconfirmed: Gauge,
    writes: Counter,
}

/// The metrics and the registry that encodes them.
pub(crate) struct Metrics {
    registry: Registry,
    leader: Gauge,
    attempts: Family<ReasonLabel, Counter>,
    sources: Gauge,
    source_changes: Counter,
    source_bytes: Counter,
    variant_bytes: Counter,
    transcoder_faults: Counter,
    seconds: Histogram,
    running: Gauge,
    backlog: Backlog,
    sweep: Sweep,
    records: Family<ReasonLabel, Gauge>,
    held_back: Family<ReasonLabel, Counter>,
    owner_holds: Family<ReasonLabel, Gauge>,
    owner_holds_created: Family<ReasonLabel, Counter>,
    cures: Family<CureLabels, Counter>,
    /// Measured pulls.
    pub(crate) pulls: PullMetrics,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("zstart_controller");
        let leader = Gauge::default();
        registry.register("leader", "1 on the replica that leads and works, 0 on the others", leader.clone());
        let record_reasons = || RecordReason::ALL.iter().map(|reason| reason.as_str());
        let attempts = by_reason(record_reasons());
        let help = "Looks at sources and conversions, by the reason that they ended with";
        registry.register("attempts", help, attempts.clone());
        let sources = Gauge::default();
        registry.register("sources", "Sources that workloads in opted-in namespaces run", sources.clone());
        let source_changes = Counter::default();
        let help =
            "Sources whose consumers changed, added over all changes of pods, templates and namespaces";
        registry.register("source_changes", help, source_changes.clone());
        let source_bytes = Counter::default();
        let help = "Compressed size of converted layers in their sources";
        registry.register_with_unit("converted_source", help, Unit::Bytes, source_bytes.clone());
        let variant_bytes = Counter::default();
        let help = "Compressed size of converted layers in their variants";
        registry.register_with_unit("converted_variant", help, Unit::Bytes, variant_bytes.clone());
        let transcoder_faults = Counter::default();
        let help = "Layers that were encoded because their transcoding would have given wrong bytes";
        registry.register("transcoder_faults", help, transcoder_faults.clone());
        let seconds = Histogram::new([1.0, 3.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1800.0]);
        registry.register_with_unit("conversion", "Duration of conversions", Unit::Seconds, seconds.clone());
        let running = Gauge::default();
        registry.register("conversions_running", "Conversions that are running", running.clone());
        let backlog = Backlog::default();
        let help = "Sources whose look is due, and waits for a permit or for a registry";
        registry.register("looks_waiting", help, backlog.looks.clone());
        let help = "Planned conversions that wait for a permit";
        registry.register("conversions_waiting", help, backlog.conversions.clone());
        let help = "Registries that don't answer";
        registry.register("registries_unreachable", help, backlog.unreachable_registries.clone());
        let sweep = Sweep::default();
        let help = "Records that a registry confirmed at their last look";
        registry.register("records_confirmed", help, sweep.confirmed.clone());
        let help = "Records whose last look failed";
        registry.register("records_unconfirmed", help, sweep.unconfirmed.clone());
        let help = "Writes of the freshness sweep, which has the confirmations of all records";
        registry.register("sweep_writes", help, sweep.writes.clone());
        let records = by_reason(record_reasons());
        registry.register("records", "Records, by the reason of their last result", records.clone());
        let held_back = by_reason(HeldBack::ALL.map(HeldBack::as_str));
        let help =
            "Requests not sent: nodes need the rest of a pull allowance, or the registry asked for a pause";
        registry.register("requests_held_back", help, held_back.clone());
        registry.register_collector(Box::new(DroppedLogLines));
        let owner_holds = by_reason(HoldReason::ALL.map(HoldReason::as_str));
        registry.register("owner_holds", "Owners and nodes on hold, by the evidence", owner_holds.clone());
        let owner_holds_created = by_reason(HoldReason::ALL.map(HoldReason::as_str));
        let help = "Holds that were made, by the evidence";
        registry.register("owner_holds_created", help, owner_holds_created.clone());
        let cures = Family::<CureLabels, Counter>::default();
        for cure in CureLabel::ALL {
            for cause in PullFailure::OF_EACH_WORD {
                drop(cures.get_or_create(&CureLabels { cure: cure.as_str(), cause: cause.as_str() }));
            }
        }
        let help =
            "Images of pods that couldn't pull their variant, by cause and cure: put back, evicted or left";
        registry.register("cures", help, cures.clone());
        let pulls = PullMetrics::default();
        pulls.register(&mut registry);
        Self {
            registry,
            leader,
            attempts,
            sources,
            source_changes,
            source_bytes,
            variant_bytes,
            transcoder_faults,
            seconds,
            running,
            backlog,
            sweep,
            records,
            held_back,
            owner_holds,
            owner_holds_created,
            cures,
            pulls,
        }
    }

    /// Counts an image whose variant a node couldn't pull.
    pub(crate) fn count_cure(&self, cure: CureLabel, cause: PullFailure) {
        self.cures.get_or_create(&CureLabels { cure: cure.as_str(), cause: cause.as_str() }).inc();
    }

    pub(crate) fn set_leader(&self, is_leader: bool) {
        self.leader.set(i64::from(is_leader));
    }

    pub(crate) fn count_attempt(&self, reason: RecordReason) {
        self.attempts.get_or_create(&ReasonLabel { reason: reason.as_str() }).inc();
    }

    /// Sets the number of sources in demand, and the total of their changes so far.
    pub(crate) fn set_demand(&self, sources: usize, changes: u64) {
        self.sources.set(i64::try_from(sources).unwrap_or(i64::MAX));
        self.source_changes.inner().store(changes, Ordering::Relaxed);
    }

    pub(crate) fn count_conversion(&self, source_bytes: u64, variant_bytes: u64, took: Duration) {
        self.source_bytes.inc_by(source_bytes);
        self.variant_bytes.inc_by(variant_bytes);
        self.seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn count_transcoder_faults(&self, layers: usize) {
        self.transcoder_faults.inc_by(layers as u64);
    }

    /// Counts a conversion as running until the guard is dropped.
    pub(crate) fn start_conversion(&self) -> RunningConversion {
        self.running.inc();
        RunningConversion(self.running.clone())
    }

    /// Sets the work that waits.
    pub(crate) fn set_backlog(&self, looks: usize, conversions: usize, unreachable_registries: usize) {
        let gauge = |gauge: &Gauge, count: usize| gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        gauge(&self.backlog.looks, looks);
        gauge(&self.backlog.conversions, conversions);
        gauge(&self.backlog.unreachable_registries, unreachable_registries);
    }

    /// Notes that a sweep with these numbers of records was written.
    pub(crate) fn set_sweep(&self, confirmed: i64, unconfirmed: i64) {
        self.sweep.confirmed.set(confirmed);
        self.sweep.unconfirmed.set(unconfirmed);
        self.sweep.writes.inc();
    }

    pub(crate) fn count_held_back(&self, reason: HeldBack) {
        self.held_back.get_or_create(&ReasonLabel { reason: reason.as_str() }).inc();
    }

    /// Sets the number of records by reason.
    pub(crate) fn set_records(&self, reasons: &HashMap<RecordReason, usize>) {
        for &reason in RecordReason::ALL {
            let count = reasons.get(&reason).copied().unwrap_or_default();
            let gauge = self.records.get_or_create(&ReasonLabel { reason: reason.as_str() });
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Sets the number of existing holds by reason.
    pub(crate) fn set_owner_holds(&self, holds: [(HoldReason, usize); 3]) {
        for (reason, count) in holds {
            let gauge = self.owner_holds.get_or_create(&ReasonLabel { reason: reason.as_str() });
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    pub(crate) fn count_owner_hold(&self, reason: HoldReason) {
        self.owner_holds_created.get_or_create(&ReasonLabel { reason: reason.as_str() }).inc();
    }

    /// All metrics in the format that Prometheus scrapes.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// A running conversion.
pub(crate) struct RunningConversion(Gauge);

impl Drop for RunningConversion {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_holds_are_a_gauge_and_a_counter_by_reason() {
        let metrics = Metrics::new();
        metrics.count_owner_hold(HoldReason::ImagePatchedBack);
        metrics.set_owner_holds([
            (HoldReason::RecreatedAfterRewrite, 2),
            (HoldReason::ImagePatchedBack, 0),
            (HoldReason::ZstdNotUnpacked, 0),
        ]);
        let text = metrics.text().unwrap();
        for line in [
            "zstart_controller_owner_holds{reason=\"RecreatedAfterRewrite\"} 2",
            "zstart_controller_owner_holds{reason=\"ImagePatchedBack\"} 0",
            "zstart_controller_owner_holds_created_total{reason=\"ImagePatchedBack\"} 1",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is missing:\n{text}");
        }
    }

    #[test]
    fn every_series_of_a_closed_list_exists_from_the_start() {
        let text = Metrics::new().text().unwrap();
        for line in [
            "zstart_controller_attempts_total{reason=\"PushDenied\"} 0",
            "zstart_controller_records{reason=\"VariantConflict\"} 0",
            "zstart_controller_requests_held_back_total{reason=\"pull_allowance\"} 0",
            "zstart_controller_requests_held_back_total{reason=\"pause\"} 0",
            "zstart_controller_owner_holds{reason=\"ImagePatchedBack\"} 0",
            "zstart_controller_cures_total{cure=\"Leave\",cause=\"RegistryAway\"} 0",
            "zstart_controller_pull_seconds_count{kind=\"variant\"} 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is missing:\n{text}");
        }
        assert_eq!(text.matches("zstart_controller_cures_total{").count(), 24);
    }
}

//! Metrics of measured pulls.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::PullKind;

/// Upper bounds in seconds. A small image takes less than a second, an image of 10 GiB several minutes.
const BUCKETS: [f64; 11] = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

/// Metrics by kind of the pulled image. No label names an image.
#[derive(Clone, Debug)]
pub(crate) struct PullMetrics {
    seconds: Family<KindLabel, Histogram, fn() -> Histogram>,
    repeated: Family<KindLabel, Counter>,
    saved_seconds: Gauge<f64, AtomicU64>,
    saved_bytes: Gauge,
}

impl Default for PullMetrics {
    fn default() -> Self {
        let seconds: Family<KindLabel, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(BUCKETS));
        let repeated = Family::default();
        for kind in PullKind::ALL.map(|kind| KindLabel { kind: kind.as_str() }) {
            drop(seconds.get_or_create(&kind));
            drop(repeated.get_or_create(&kind));
        }
        Self { seconds, repeated, saved_seconds: Gauge::default(), saved_bytes: Gauge::default() }
    }
}

impl PullMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Duration of a node's first pull of a source or of its variant, as the kubelet reports it";
        registry.register_with_unit("pull", help, Unit::Seconds, self.seconds.clone());
        let help = "Pulls by nodes that had pulled the source or its variant before; they aren't measured";
        registry.register("repeated_pulls", help, self.repeated.clone());
        let help = "Estimated time that pulls of variants saved since the start: for each pull, the median of its \
                    source's pulls less its own duration. Sources with too few measured pulls aren't counted yet. \
                    Falls if variants are slower";
        registry.register_with_unit("pull_time_saved", help, Unit::Seconds, self.saved_seconds.clone());
        let help = "Compressed bytes that measured pulls of variants had less than their sources since the start, \
                    as the mean of the image's platforms";
        registry.register_with_unit("pull_size_saved", help, Unit::Bytes, self.saved_bytes.clone());
    }

    /// Counts a measured pull.
    pub(super) fn count(&self, kind: PullKind, took: Duration) {
        self.seconds.get_or_create(&KindLabel { kind: kind.as_str() }).observe(took.as_secs_f64());
    }

    /// Counts a pull by a node that had the layers.
    pub(super) fn count_repeated(&self, kind: PullKind) {
        self.repeated.get_or_create(&KindLabel { kind: kind.as_str() }).inc();
    }

    /// Adds to the estimate.
    pub(super) fn add_saved_seconds(&self, seconds: f64) {
        self.saved_seconds.inc_by(seconds);
    }

    /// Adds to the bytes saved.
    pub(super) fn add_saved_bytes(&self, bytes: i64) {
        self.saved_bytes.inc_by(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pulls_are_counted_by_kind_and_the_estimate_may_fall() {
        let (metrics, mut registry) = (PullMetrics::default(), Registry::with_prefix("zstart_controller"));
        metrics.register(&mut registry);
        metrics.count(PullKind::Original, Duration::from_millis(4_200));
        metrics.count(PullKind::Variant, Duration::from_millis(900));
        metrics.count_repeated(PullKind::Variant);
        metrics.add_saved_seconds(3.5);
        metrics.add_saved_seconds(-1.0);
        metrics.add_saved_bytes(7);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "zstart_controller_pull_seconds_count{kind=\"original\"} 1",
            "zstart_controller_pull_seconds_bucket{le=\"1.0\",kind=\"variant\"} 1",
            "zstart_controller_pull_seconds_bucket{le=\"2.0\",kind=\"original\"} 0",
            "zstart_controller_repeated_pulls_total{kind=\"variant\"} 1",
            "zstart_controller_repeated_pulls_total{kind=\"original\"} 0",
            "zstart_controller_pull_time_saved_seconds 2.5",
            "zstart_controller_pull_size_saved_bytes 7",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is missing:\n{text}");
        }
    }
}

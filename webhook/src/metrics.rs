//! Prometheus metrics. The series are few: reasons are a closed list, and no property of a pod is a label. Every series
//! exists from the start: a counter that appears with its first event shows no increase for it.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use zstart_core::eligibility::Reason;
use zstart_process::dropped_log_lines::DroppedLogLines;

use zstart_admission::snapshot::watch::CacheAges;
use zstart_admission::snapshot::{Sizes, Snapshot};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResourceLabel {
    resource: &'static str,
}

/// Outcome of a review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The pod was patched.
    Patched,
    /// The pod was admitted unchanged.
    Unchanged,
    /// The request wasn't a review.
    Malformed,
    /// The body was too long or unreadable, or the response too long.
    Refused,
    /// The body didn't arrive in time, or waited too long for other reviews.
    Timeout,
    /// The connection ended before the response. The API server gives up after its own timeout.
    Aborted,
}

impl Outcome {
    const ALL: [Self; 6] =
        [Self::Patched, Self::Unchanged, Self::Malformed, Self::Refused, Self::Timeout, Self::Aborted];

    fn as_str(self) -> &'static str {
        match self {
            Self::Patched => "patched",
            Self::Unchanged => "unchanged",
            Self::Malformed => "malformed",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Aborted => "aborted",
        }
    }
}

/// Label of a request that arrived while its idle connection was closed, and that got no response.
const LOST: &str = "lost";

/// Metrics, and the registry that encodes them.
pub(crate) struct Metrics {
    registry: Registry,
    images: Family<ReasonLabel, Counter>,
    reviews: Family<OutcomeLabel, Counter>,
    seconds: Histogram,
    certificate_not_after: Gauge,
}

impl Metrics {
    pub(crate) fn new(snapshot: Arc<Snapshot>, ages: Arc<CacheAges>) -> Self {
        let mut registry = Registry::with_prefix("zstart_webhook");
        let images = Family::<ReasonLabel, Counter>::default();
        for reason in Reason::ALL {
            drop(images.get_or_create(&ReasonLabel { reason: reason.as_str() }));
        }
        let help = "Decisions about images of admitted pods, by reason; without dry runs";
        registry.register("images", help, images.clone());
        let reviews = Family::<OutcomeLabel, Counter>::default();
        for outcome in Outcome::ALL.map(Outcome::as_str).into_iter().chain([LOST]) {
            drop(reviews.get_or_create(&OutcomeLabel { outcome }));
        }
        registry.register("reviews", "Reviews, by outcome; without dry runs", reviews.clone());
        // The API server waits two seconds; most reviews take less than a millisecond, where buckets are fine.
        let seconds = Histogram::new([
            0.00005, 0.0001, 0.0002, 0.0003, 0.0004, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005,
            0.01, 0.05, 0.1, 0.5, 1.0, 2.0,
        ]);
        let help = "Seconds from a request's head to its response, with the body and all waits; without lost requests";
        registry.register("review_seconds", help, seconds.clone());
        let certificate_not_after = Gauge::default();
        let help = "Expiry of the serving certificate, in seconds since 1970; 0 without a certificate";
        registry.register("certificate_expiry_timestamp_seconds", help, certificate_not_after.clone());
        registry.register_collector(Box::new(Caches { snapshot, ages }));
        registry.register_collector(Box::new(DroppedLogLines));
        Self { registry, images, reviews, seconds, certificate_not_after }
    }

    pub(crate) fn count_image(&self, reason: Reason) {
        self.images.get_or_create(&ReasonLabel { reason: reason.as_str() }).inc();
    }

    /// Starts the time of a review.
    pub(crate) fn start_review(self: &Arc<Self>) -> ReviewTimer {
        ReviewTimer { metrics: Arc::clone(self), start: Instant::now(), outcome: Some(Outcome::Aborted) }
    }

    /// Counts a request that was lost with its connection.
    pub(crate) fn count_lost_review(&self) {
        self.reviews.get_or_create(&OutcomeLabel { outcome: LOST }).inc();
    }

    pub(crate) fn set_certificate_not_after(&self, second: i64) {
        self.certificate_not_after.set(second);
    }

    /// Encodes all metrics in the Prometheus text format.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Time of one review. A timer that is dropped counts the review as aborted.
pub(crate) struct ReviewTimer {
    metrics: Arc<Metrics>,
    start: Instant,
    outcome: Option<Outcome>,
}

impl ReviewTimer {
    /// Counts the review and its time; `None` counts nothing.
    pub(crate) fn finish(mut self, outcome: Option<Outcome>) {
        self.outcome = outcome;
    }
}

impl Drop for ReviewTimer {
    fn drop(&mut self) {
        let Some(outcome) = self.outcome else { return };
        let outcome = outcome.as_str();
        self.metrics.reviews.get_or_create(&OutcomeLabel { outcome }).inc();
        self.metrics.seconds.observe(self.start.elapsed().as_secs_f64());
    }
}

/// Numbers of objects in the snapshot, and the caches' ages, read at each scrape.
#[derive(Debug)]
struct Caches {
    snapshot: Arc<Snapshot>,
    ages: Arc<CacheAges>,
}

impl Collector for Caches {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Sizes { namespaces, records, nodes, node_classes, revisions, holds } = self.snapshot.sizes();
        let counts = [
            ("namespaces", namespaces),
            ("imageconversions", records),
            ("nodes", nodes),
            ("nodeclasses", node_classes),
            ("revisions", revisions),
            ("ownerholds", holds),
        ];
        let first = ConstGauge::new(0_i64);
        let help = "Objects in memory, from which decisions are made";
        let mut metric = encoder.encode_descriptor("cached_objects", help, None, first.metric_type())?;
        for (resource, count) in counts {
            let gauge = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
            gauge.encode(metric.encode_family(&ResourceLabel { resource })?)?;
        }
        let first = ConstGauge::new(0.0);
        let help =
            "Seconds since the API server was last heard about a kind of object, see webhook.maxCacheAge";
        let mut metric = encoder.encode_descriptor("cache_age_seconds", help, None, first.metric_type())?;
        for (resource, age) in self.ages.all() {
            let gauge = ConstGauge::new(age.as_secs_f64());
            gauge.encode(metric.encode_family(&ResourceLabel { resource })?)?;
        }
        Ok(())
    }
}

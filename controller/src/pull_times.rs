//! Measured pulls: the time that nodes save by variants, from the events of kubelets.
//!
//! - `events`: the kubelets' events, from the start of the leadership on.
//! - `sources`: the source of a pulled image.
//! - `early_pulls`: pulls of images that no workload in an opted-in namespace runs yet.
//! - `ledger`: the figures of each source, and the times at which its record is written.
//! - `figures`: the figures of one source. Pure.
//! - `recent_pulls`: nodes that have the layers already.
//!
//! Pulls of all namespaces count. A namespace that isn't opted in pulls originals by the same registry and nodes, and
//! is often the only comparison that is left once a record is Ready.
//!
//! The figures are in memory. A record gets a summary of them, under a field manager of its own
//! ([`keys::PULL_METER`]): ten seconds after the first pull of the source and of its variant, then at most every ten
//! minutes, and only if the summary changed. All records together get at most one write in two seconds. A new process
//! starts with the record's summary: its median has the weight of at most 32 pulls.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource as _, ResourceExt as _};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval, sleep_until};
use tracing::{debug, warn};
use zstart_core::record::{MeasuredPulls, Variant, record_name};
use zstart_core::{ImageConversion, Pulled, chain, keys};

use self::early_pulls::{EarlyPull, EarlyPulls};
use self::events::PulledEvents;
use self::ledger::{Ledger, Observed, Pull};
use self::sources::{Sources, possible_source};
use crate::context::Context;
use crate::demand::Source;
use crate::watched::WatchedPulledEvent;

mod early_pulls;
mod events;
mod figures;
mod ledger;
mod metrics;
mod recent_pulls;
mod sources;

pub(crate) use metrics::PullMetrics;

/// Time between two writes of records. 10,000 records with new pulls are written within six hours.
const SPACING: Duration = Duration::from_secs(2);
/// Time between two writes of records after a failure. The API server as a whole may be affected.
const FAILURE_SPACING: Duration = Duration::from_mins(1);
/// Interval at which sources are dropped that no workload runs.
const PRUNE_INTERVAL: Duration = Duration::from_mins(10);
/// Interval at which early pulls of new sources are counted.
const EARLY_INTERVAL: Duration = Duration::from_secs(10);

/// Image of a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PullKind {
    /// The source.
    Original,
    /// A variant of the source.
    Variant,
}

impl PullKind {
    const ALL: [Self; 2] = [Self::Original, Self::Variant];

    /// Word in metrics.
    fn as_str(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Variant => "variant",
        }
    }
}

/// Result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recorded {
    /// The record has the figures.
    Kept,
    /// The record has no source digest yet, which the figures are about.
    Unresolved,
    /// The record doesn't exist.
    Gone,
}

/// Measures pulls forever.
pub(crate) async fn keep(context: Arc<Context>) {
    context.demand.wait_until_synced().await;
    // A stream keeps a request that is under way while another branch of the loop runs.
    let mut events = pin!(stream::unfold(PulledEvents::new(&context.client), async |mut events| {
        Some((events.next().await, events))
    }));
    let mut meter = Meter {
        context: &context,
        sources: Sources::default(),
        early: EarlyPulls::default(),
        ledger: Ledger::default(),
    };
    let mut prunes = interval(PRUNE_INTERVAL);
    prunes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut joins = interval(EARLY_INTERVAL);
    joins.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next_write = Instant::now();
    loop {
        let wake = meter.ledger.next_due().map(|due| due.max(next_write));
        tokio::select! {
            Some(event) = events.next() => meter.observe(&event, Instant::now()),
            _ = joins.tick() => meter.count_all_early(Instant::now()),
            _ = prunes.tick() => {
                meter.ledger.retain(|source| context.demand.read(|demand| demand.is_in_demand(source)));
            }
            () = sleep_until(wake.unwrap_or_else(Instant::now).into()), if wake.is_some() => {
                let spacing = if meter.write_next().await { SPACING } else { FAILURE_SPACING };
                next_write = Instant::now() + spacing;
            }
        }
    }
}

/// State of the loop.
struct Meter<'a> {
    context: &'a Context,
    sources: Sources,
    early: EarlyPulls,
    ledger: Ledger,
}

impl Meter<'_> {
    /// Counts the pull that an event reports, if a workload in an opted-in namespace runs the source. Remembers it
    /// otherwise.
    fn observe(&mut self, event: &WatchedPulledEvent, now: Instant) {
        let Some(Pulled { image, took, image_bytes }) = Pulled::parse(event.message()) else { return };
        let sources = &mut self.sources;
        if let Some(pulled) = self.context.demand.read(|demand| sources.identify(image, demand, now)) {
            self.count_early(&pulled.source, now);
            self.count(Pull { pulled, node: event.node(), took, image_bytes }, now);
        } else if let Some(image) = possible_source(image)
            && self.ledger.remember(event.node(), &image, now)
        {
            self.early.insert(image, EarlyPull { took, image_bytes, at: now });
        }
    }

    /// Counts the early pulls of all images that have become sources.
    fn count_all_early(&mut self, now: Instant) {
        let early = &self.early;
        let sources = self.context.demand.read(|demand| early.sources(|image| demand.is_in_demand(image)));
        for source in sources {
            self.count_early(&Arc::new(source), now);
        }
    }

    fn count_early(&mut self, source: &Source, now: Instant) {
        for EarlyPull { took, image_bytes, .. } in self.early.take(source, now) {
            self.ledger.add(source, PullKind::Original, took, image_bytes, now);
            self.context.metrics.pulls.count(PullKind::Original, took);
        }
    }

    fn count(&mut self, pull: Pull<'_>, now: Instant) {
        let (kind, took) = (pull.pulled.kind, pull.took);
        let observed = self.ledger.observe(pull, now);
        let metrics = &self.context.metrics.pulls;
        match observed {
            Observed::Counted => metrics.count(kind, took),
            Observed::Repeated => metrics.count_repeated(kind),
            Observed::OtherDigest => {}
        }
    }

    /// Writes the record that is due first. Returns whether the API server accepted the requests.
    async fn write_next(&mut self) -> bool {
        let Some(source) = self.ledger.take_due(Instant::now()) else { return true };
        match self.write(&source).await {
            Ok(Recorded::Kept) => {}
            Ok(Recorded::Unresolved) => self.ledger.wait_for_record(&source, Instant::now()),
            Ok(Recorded::Gone) if self.context.demand.read(|demand| demand.is_in_demand(&source)) => {
                self.ledger.wait_for_record(&source, Instant::now());
            }
            Ok(Recorded::Gone) => self.ledger.forget(&source),
            Err(error) => {
                warn!(%source, error = chain(&error), "failed to write the measured pulls of a record, retrying");
                self.ledger.postpone(&source, Instant::now());
                return false;
            }
        }
        true
    }

    /// Brings figures and record in line.
    async fn write(&mut self, source: &Source) -> kube::Result<Recorded> {
        let records: Api<ImageConversion> = Api::all(self.context.client.clone());
        let record = records.get_opt(&record_name(source)).await?;
        let Some(record) = record.filter(|record| record.spec.source == **source) else {
            return Ok(Recorded::Gone);
        };
        let status = record.status.as_ref();
        let Some(resolved) = status.and_then(|status| status.source.as_ref()) else {
            return Ok(Recorded::Unresolved);
        };
        let recorded = status.and_then(|status| status.pulls.as_ref());
        let Some(figures) = self.ledger.read(source, Instant::now()) else {
            return Ok(Recorded::Gone);
        };
        figures.update(&resolved.digest, recorded);
        let metrics = &self.context.metrics.pulls;
        metrics.add_saved_seconds(figures.settle());
        // A variant of an earlier digest has other sizes.
        let variant = status.and_then(|status| status.variant.as_ref());
        if let Some(variant) = variant.filter(|variant| variant.source_digest == resolved.digest) {
            metrics.add_saved_bytes(figures.take_unsized_pulls().saturating_mul(saved_bytes(variant)));
        }
        let measured = figures.measured(&resolved.digest);
        if recorded != Some(&measured) {
            apply(&records, &record, &measured).await?;
            self.ledger.written(source, Instant::now());
            debug!(%source, summary = ?measured.summary, "wrote the measured pulls of a record");
        }
        Ok(Recorded::Kept)
    }
}

/// Bytes that a variant has fewer than its source: the mean of its platforms, because an event doesn't name the node's.
fn saved_bytes(variant: &Variant) -> i64 {
    let saved = variant.platforms.iter().map(|platform| platform.source_bytes - platform.variant_bytes);
    let count = i64::try_from(variant.platforms.len()).unwrap_or(i64::MAX);
    saved.sum::<i64>().checked_div(count).unwrap_or_default()
}

/// Applies the measured pulls under a field manager of its own: an apply of the whole status by a reconciliation
/// leaves them alone.
async fn apply(
    records: &Api<ImageConversion>,
    record: &ImageConversion,
    measured: &MeasuredPulls,
) -> kube::Result<()> {
    let patch = json!({
        "apiVersion": ImageConversion::api_version(&()),
        "kind": ImageConversion::kind(&()),
        "metadata": {"name": record.name_any(), "uid": record.uid()},
        "status": {"pulls": measured},
    });
    let parameters = PatchParams::apply(keys::PULL_METER).force();
    records.patch_status(&record.name_any(), &parameters, &Patch::Apply(&patch)).await?;
    Ok(())
}

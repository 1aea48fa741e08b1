//! Keeps the freshness sweep: writes the last confirmations of all records into one object.
//!
//! The pace depends on the number of records, so that the API server gets about as many bytes a second from a large
//! cluster as from a small one. The confirmations survive a restart: a new leader looks at each source when it is due,
//! and not at all of them at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::{Patch, PatchParams};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::sleep;
use tracing::warn;
use zstart_core::sweep::{Confirmations, FreshnessSweepSpec, SWEEP, SweepView, SweptRegistry};
use zstart_core::sync::lock;
use zstart_core::{FreshnessSweep, chain, keys};

use crate::context::Context;
use crate::reconcile::is_outage;
use crate::reconcile::requeue::{Attempt, Confirmation};

/// Shortest time between two writes. With ten thousand records, ten seconds.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// Confirmations that are written in a second, on average: 16 KiB as the API server stores them.
const PER_SECOND: usize = 1000;
/// Delay before a retry.
const RETRY_DELAY: Duration = Duration::from_secs(5);
/// Largest number of names of unconfirmed records for each registry.
const MAX_NAMES: usize = 20;

/// State that the next sweep has, in addition to the attempts of this process.
#[derive(Debug, Default)]
pub(crate) struct SweepState {
    /// Confirmations of an earlier process.
    earlier: Mutex<Confirmations>,
    /// Registries that don't answer.
    unreachable: Mutex<BTreeSet<Arc<str>>>,
}

impl SweepState {
    /// Time at which an earlier process had the record confirmed last.
    pub(crate) fn earlier_look(&self, record: &str) -> Option<Timestamp> {
        lock(&self.earlier).last_look(record)
    }

    /// Keeps the confirmations of these records alone.
    pub(crate) fn retain<'a>(&self, records: impl Iterator<Item = &'a str>) {
        lock(&self.earlier).retain(records);
    }

    /// Forgets a record that is gone.
    pub(crate) fn forget(&self, record: &str) {
        lock(&self.earlier).remove(record);
    }

    /// Sets the registries that don't answer.
    pub(crate) fn set_unreachable(&self, registries: BTreeSet<Arc<str>>) {
        *lock(&self.unreachable) = registries;
    }
}

/// Reads the confirmations of an earlier process. Waits for an API server that is away: without them, all sources
/// would be looked at once.
pub(crate) async fn restore(context: &Context) {
    let sweeps: Api<FreshnessSweep> = Api::all(context.client.clone());
    let found = loop {
        match sweeps.get_opt(SWEEP).await {
            Ok(found) => break found,
            Err(error @ kube::Error::SerdeError(_)) => {
                warn!(error = chain(&error), "ignoring an unreadable freshness sweep");
                break None;
            }
            Err(error) => warn!(error = chain(&error), "failed to read the freshness sweep, retrying"),
        }
        sleep(RETRY_DELAY).await;
    };
    match found.map(SweepView::try_from).transpose() {
        Ok(view) => *lock(&context.sweep.earlier) = view.unwrap_or_default().confirmations,
        Err(error) => warn!(error = chain(&error), "ignoring an unreadable freshness sweep"),
    }
}

/// Writes the sweep forever, when it changes. `outcomes` receives whether the API server accepted a write.
pub(crate) async fn keep(context: &Context, outcomes: UnboundedSender<bool>) {
    let sweeps: Api<FreshnessSweep> = Api::all(context.client.clone());
    let mut written: Option<FreshnessSweepSpec> = None;
    loop {
        let (spec, entries) = sweep(context);
        let is_changed = written.as_ref().is_none_or(|written| {
            FreshnessSweepSpec { swept_at: written.swept_at.clone(), ..spec.clone() } != *written
        });
        let mut delay = MIN_INTERVAL * u32::try_from(entries / PER_SECOND).unwrap_or(u32::MAX).max(1);
        if is_changed {
            let object = FreshnessSweep::new(SWEEP, spec.clone());
            let parameters = PatchParams::apply(keys::CONTROLLER).force();
            match sweeps.patch(SWEEP, &parameters, &Patch::Apply(&object)).await {
                Ok(_) => {
                    let _ = outcomes.send(true);
                    context.metrics.set_sweep(spec.confirmed, spec.unconfirmed);
                    written = Some(spec);
                }
                Err(error) => {
                    warn!(error = chain(&error), "failed to write the freshness sweep, retrying");
                    if is_outage(&error) {
                        let _ = outcomes.send(false);
                    }
                    delay = delay.max(RETRY_DELAY);
                }
            }
        }
        sleep(delay).await;
    }
}

/// The sweep of now, and its number of confirmations.
fn sweep(context: &Context) -> (FreshnessSweepSpec, usize) {
    let mut confirmations = lock(&context.sweep.earlier).clone();
    let mut registries: BTreeMap<Arc<str>, Swept> = BTreeMap::new();
    let (mut confirmed, mut unconfirmed) = (0, 0);
    context.attempts.each(|record, attempt| {
        let Attempt { registry, confirmation, failure, is_serving, .. } = attempt;
        let swept = registries.entry(Arc::clone(registry)).or_default();
        if failure.is_some() && !is_serving {
            // A leader that starts takes each record of the sweep for one whose last look succeeded.
            confirmations.remove(record);
        } else if let Some(Confirmation { key, at }) = confirmation {
            confirmations.insert(*key, *at);
        }
        match confirmation.as_ref().filter(|_| failure.is_none()) {
            Some(Confirmation { at, .. }) => {
                confirmed += 1;
                swept.confirmed += 1;
                swept.since = Some(swept.since.map_or(*at, |since| since.min(*at)));
            }
            None if failure.is_some() => {
                unconfirmed += 1;
                swept.unconfirmed.insert(record.to_owned());
                if swept.unconfirmed.len() > MAX_NAMES {
                    swept.unconfirmed.pop_last();
                }
            }
            None => {}
        }
    });
    let unreachable = lock(&context.sweep.unreachable).clone();
    for registry in &unreachable {
        registries.entry(Arc::clone(registry)).or_default();
    }
    let registries = registries.into_iter().map(|(registry, swept)| SweptRegistry {
        reachable: !unreachable.contains(&registry),
        registry: registry.to_string(),
        confirmed: swept.confirmed,
        confirmed_since: swept.since.map(Time),
        unconfirmed: swept.unconfirmed.into_iter().collect(),
    });
    let spec = FreshnessSweepSpec {
        swept_at: Time(context.api_clock.now()),
        confirmed,
        unconfirmed,
        registries: registries.collect(),
        confirmations: ByteString(confirmations.to_bytes()),
    };
    (spec, confirmations.len())
}

/// Records of one registry.
#[derive(Debug, Default)]
struct Swept {
    confirmed: i64,
    since: Option<Timestamp>,
    unconfirmed: BTreeSet<String>,
}

//! A record for every source that is wanted.
//!
//! A record that nobody wants any more stays: its variant is in the registry all the same.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt as _};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};
use zstart_core::record::{ImageConversionSpec, record_name};
use zstart_core::{ImageConversion, Reference, keys};

use crate::context::Context;
use crate::demand::Demand;

/// How long after a change it is looked what is wanted: a rollout changes many objects at once.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// The pause after the API server refused to make a record.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// Makes records, for ever; one that was deleted is made again while it is wanted.
pub(crate) async fn keep(context: Arc<Context>) {
    let watched = Api::<PartialObjectMeta<ImageConversion>>::all(context.client.clone());
    let mut events = watcher::watcher(watched, watcher::Config::default()).default_backoff().boxed();
    let records: Api<ImageConversion> = Api::all(context.client.clone());
    let mut known = Known::default();
    let mut changes = context.demand.subscribe();
    let mut retry: Option<Instant> = None;
    context.demand.wait_until_synced().await;
    loop {
        let look = tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => known.learn(event),
                Some(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    warn!(watch = "imageconversions", error, "a watch broke; it is started again");
                    false
                }
                None => return,
            },
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                sleep(DEBOUNCE).await;
                changes.mark_unchanged();
                true
            }
            () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => true,
        };
        let may_try = retry.is_none_or(|at| at <= Instant::now());
        if look && known.complete && may_try {
            context.attempts.retain(|record| known.names.contains(record));
            retry = create_missing(&records, &context, &mut known.names).await.err();
        }
    }
}

/// The names of the records that there are.
#[derive(Debug, Default)]
struct Known {
    names: BTreeSet<String>,
    /// Whether they were all listed once. Before, every record would seem to be missing.
    complete: bool,
    listing: BTreeSet<String>,
}

impl Known {
    /// Whether a record may be missing now.
    fn learn(&mut self, event: Event<PartialObjectMeta<ImageConversion>>) -> bool {
        match event {
            Event::Init => {
                self.listing.clear();
                false
            }
            Event::InitApply(record) => {
                self.listing.insert(record.name_any());
                false
            }
            Event::InitDone => {
                self.names = std::mem::take(&mut self.listing);
                self.complete = true;
                true
            }
            Event::Apply(record) => {
                self.names.insert(record.name_any());
                false
            }
            Event::Delete(record) => self.names.remove(&record.name_any()),
        }
    }
}

/// Makes the records that are missing. The error is when to try again.
async fn create_missing(
    records: &Api<ImageConversion>,
    context: &Context,
    known: &mut BTreeSet<String>,
) -> Result<(), Instant> {
    let mut done = Ok(());
    for source in context.demand.read(Demand::sources) {
        let name = record_name(&source);
        if known.contains(&name) {
            continue;
        }
        match create(records, &name, source.clone()).await {
            Ok(()) => {
                info!(record = name, %source, "made a record");
                known.insert(name);
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(record = name, %source, error, "could not make a record");
                done = Err(Instant::now() + RETRY_DELAY);
            }
        }
    }
    done
}

async fn create(records: &Api<ImageConversion>, name: &str, source: Reference) -> kube::Result<()> {
    let record = ImageConversion::new(name, ImageConversionSpec { source });
    records.patch(name, &PatchParams::apply(keys::CONTROLLER), &Patch::Apply(&record)).await?;
    Ok(())
}

//! Creates a record for every source in demand.
//!
//! A record without consumers is kept: its variant is still in the registry.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt as _};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};
use zstart_core::record::{ImageConversionSpec, record_name};
use zstart_core::{ImageConversion, Reference, keys};
use zstart_process::watch::{self, WatchCache};

use crate::context::Context;
use crate::demand::Demand;

/// Delay before a retry when the API server rejects a record.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// Creates missing records forever. A record that is deleted while it is in demand is created again.
pub(crate) async fn keep(context: Arc<Context>) {
    let watched = Api::<PartialObjectMeta<ImageConversion>>::all(context.client.clone());
    let mut events = watch::events("imageconversions", watched, watcher::Config::default());
    let records: Api<ImageConversion> = Api::all(context.client.clone());
    let mut known: WatchCache<String, ()> = WatchCache::default();
    let mut changes = pin!(context.demand.subscribe());
    let mut retry: Option<Instant> = None;
    context.demand.wait_until_synced().await;
    loop {
        let may_be_missing = tokio::select! {
            event = events.next() => {
                let Some(event) = event else { return };
                let may_be_missing = matches!(event, Event::InitDone | Event::Delete(_));
                known.apply(event, |record| (record.name_any(), Some(())));
                may_be_missing
            }
            change = changes.next() => {
                if change.is_none() {
                    return;
                }
                true
            }
            () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => true,
        };
        let may_try = retry.is_none_or(|at| at <= Instant::now());
        // Before the first list is complete, every record would seem to be missing.
        if may_be_missing && known.is_synced() && may_try {
            context.attempts.retain(|record| known.contains_key(record));
            context.repositories.retain(|record| known.contains_key(record));
            retry = create_missing(&records, &context, &mut known).await.err();
        }
    }
}

/// Creates the records that are missing. The error is the time of the next try.
async fn create_missing(
    records: &Api<ImageConversion>,
    context: &Context,
    known: &mut WatchCache<String, ()>,
) -> Result<(), Instant> {
    let mut done = Ok(());
    for source in context.demand.read(Demand::sources) {
        let name = record_name(&source);
        if known.contains_key(&name) {
            continue;
        }
        match create(records, &name, Reference::clone(&source)).await {
            Ok(()) => {
                info!(record = name, %source, "created a record");
                known.insert(name, ());
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(record = name, %source, error, "failed to create a record");
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

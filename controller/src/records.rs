//! A record for every source that is wanted.
//!
//! A record that nobody wants any more stays: its variant is in the registry all the same.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use tracing::{info, warn};
use zstart_core::record::{ImageConversionSpec, record_name};
use zstart_core::{ImageConversion, Reference, keys};

use crate::demand::{Demand, SharedDemand};

/// How long after a change it is looked what is wanted: a rollout changes many objects at once.
const SETTLE: Duration = Duration::from_millis(200);
/// The pause after the API server refused to make a record.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Makes records, for ever. `known` says which there are, so that one that was deleted is made again
/// and none is made twice.
pub async fn keep(client: Client, demand: SharedDemand, known: impl Fn() -> BTreeSet<String>) {
    let records: Api<ImageConversion> = Api::all(client);
    let mut bell = demand.bell();
    demand.wait_until_synced().await;
    loop {
        bell.mark_unchanged();
        let failed = make_missing(&records, &demand, &known()).await;
        if failed {
            tokio::time::sleep(AFTER_FAILURE).await;
        } else if bell.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(SETTLE).await;
    }
}

/// Makes the records that are missing; answers whether one couldn't be made.
async fn make_missing(
    records: &Api<ImageConversion>,
    demand: &SharedDemand,
    known: &BTreeSet<String>,
) -> bool {
    let mut failed = false;
    for source in demand.read(Demand::sources) {
        let name = record_name(&source);
        if known.contains(&name) {
            continue;
        }
        match make(records, &name, source.clone()).await {
            Ok(()) => info!(record = name, %source, "made a record"),
            Err(error) => {
                warn!(record = name, %source, %error, "could not make a record");
                failed = true;
            }
        }
    }
    failed
}

async fn make(records: &Api<ImageConversion>, name: &str, source: Reference) -> kube::Result<()> {
    let record = ImageConversion::new(name, ImageConversionSpec { source });
    records.patch(name, &PatchParams::apply(keys::CONTROLLER), &Patch::Apply(&record)).await?;
    Ok(())
}

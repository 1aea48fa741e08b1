//! From a record to a variant that serves: [`reconciliation`] does the phases, [`status`] says how they went.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt as _};
use tracing::{info, warn};
use zstart_convert::PlatformSelection;
use zstart_core::record::{READY, RecordReason, condition};
use zstart_core::{ImageConversion, units};

use crate::context::Context;
use crate::demand::Wanter;
use crate::events::Kind;
use error::Failure;
use reconciliation::{Found, Look};
use requeue::{Attempt, Basis, Settled};
use status_writer::Journal;

mod backoff;
mod error;
mod reconciliation;
pub(crate) mod requeue;
mod status;
mod status_writer;

/// The pause after the API server didn't take a status.
const AFTER_API_ERROR: Duration = Duration::from_secs(5);

/// A record, or what is wrong with it: one that can't be read mustn't keep the others from being
/// followed.
pub(crate) type ReadRecord = DeserializeGuard<ImageConversion>;

/// Looks at the record's source if that is due, and says when it is due again.
pub(crate) async fn reconcile(record: Arc<ReadRecord>, context: Arc<Context>) -> kube::Result<Action> {
    let record = match &record.0 {
        Ok(record) => record,
        Err(error) => {
            warn!(record = error.metadata.name, %error, "ignoring a record that can't be read");
            return Ok(Action::await_change());
        }
    };
    // Whether anybody wants an image is known only then.
    context.demand.wait_until_synced().await;
    let wanters = context.demand.read(|demand| demand.wanters(&record.spec.source));
    if record.metadata.deletion_timestamp.is_some() || (wanters.is_empty() && is_settled(record)) {
        // Who wants it again rings the bell.
        return Ok(Action::await_change());
    }
    let name = record.name_any();
    let platforms = context.platforms();
    let basis = basis(record, &wanters, &platforms);
    let last = context.attempts.last(&name, basis);
    if let Some(rest) = last.as_ref().and_then(|last| last.rest(Instant::now())) {
        return Ok(Action::requeue(rest));
    }
    // The watch may lag behind what the last look wrote.
    let records = Api::<ImageConversion>::all(context.client.clone());
    let Some(record) = records.get_opt(&name).await?.filter(|now| now.uid() == record.uid()) else {
        return Ok(Action::await_change());
    };
    let (failures, settled) = last.map(|last| (last.failures, last.settled)).unwrap_or_default();
    let look = Look {
        context: &context,
        record: &record,
        wanters: &wanters,
        settings: context.settings(platforms),
        settled,
    };
    let mut journal = Journal::open(&context.client, &record);
    let found = tokio::select! {
        found = look.run(&mut journal) => found,
        () = context.shutdown.cancelled() => return Ok(Action::await_change()),
    };
    let (delay, failures, settled) = conclude(&look, &mut journal, found, failures).await?;
    journal.write().await?;
    context.attempts.note(&name, Attempt { basis, next: Instant::now() + delay, failures, settled });
    Ok(Action::requeue(delay))
}

/// What is done when the API server didn't take a status.
#[expect(clippy::needless_pass_by_value, reason = "kube asks for this signature")]
pub(crate) fn after_error(record: Arc<ReadRecord>, error: &kube::Error, _context: Arc<Context>) -> Action {
    warn!(record = record.name_any(), error = error as &dyn std::error::Error, "could not write a status");
    Action::requeue(AFTER_API_ERROR)
}

/// Puts how it ended into the status, the events, the counters and the log. The delay until the next
/// look, how many failed in a row, and what that one can rely on.
async fn conclude(
    look: &Look<'_>,
    journal: &mut Journal<'_>,
    found: Result<Found, Failure>,
    failures: u32,
) -> kube::Result<(Duration, u32, Option<Settled>)> {
    let Look { context, record, wanters, .. } = *look;
    let recheck = context.config.recheck_interval;
    let (name, source) = (record.name_any(), &record.spec.source);
    // Never later than the setting says.
    let next = recheck.saturating_sub(backoff::spread(recheck, &name));
    match found {
        Ok(Found::Unchanged(settled)) => {
            context.metrics.ended(RecordReason::Verified);
            Ok((next, 0, Some(settled)))
        }
        Ok(Found::AlreadyZstd) => {
            journal.change(status::already_zstd);
            context.metrics.ended(RecordReason::AlreadyZstd);
            Ok((next, 0, None))
        }
        Ok(Found::Served(served)) => {
            let is_news = record
                .status
                .as_ref()
                .and_then(|status| status.variant.as_ref())
                .is_none_or(|variant| variant.reference != served.reference);
            journal.change(|status, now| status::served(status, &served, now));
            context.metrics.ended(RecordReason::Verified);
            if is_news {
                let (before, after) = (served.image.source_bytes(), served.image.variant_bytes());
                let note = format!(
                    "{source} is served by {}: {} instead of {} to pull ({} less)",
                    served.reference,
                    units::size(after),
                    units::size(before),
                    units::saving(before, after),
                );
                info!(%source, variant = %served.reference, before, after, "a variant serves");
                context.events.publish(record, wanters, Kind::Normal, RecordReason::Converted, &note).await;
            }
            let settled = Settled { source: served.source.clone(), variant: served.image.digest.clone() };
            Ok((next, 0, Some(settled)))
        }
        Err(Failure::Status(error)) => Err(error),
        Err(failure) => {
            let failures = failures.saturating_add(1);
            let delay = backoff::after_failure(failure.class(), failures, recheck);
            // Never sooner than a registry asked for.
            let delay = delay + backoff::spread(delay, &name);
            let (reason, text) = (failure.reason(), failure.to_string());
            warn!(%source, reason = reason.as_str(), error = text, ?delay, "a source isn't served by a variant");
            context.metrics.ended(reason);
            journal.change(|status, now| status::failed(status, &failure, now));
            let note = format!("{source}: {text}");
            context.events.publish(record, wanters, Kind::Warning, reason, &note).await;
            // A variant that goes on to serve is compared again as soon as that is possible.
            Ok((delay, failures, look.settled.clone()))
        }
    }
}

/// What the next attempt depends on, besides time.
fn basis(record: &ImageConversion, wanters: &[Wanter], platforms: &PlatformSelection) -> Basis {
    let who: BTreeSet<_> = wanters
        .iter()
        .map(|wanter| (&wanter.namespace, &wanter.pull_secrets, &wanter.service_account))
        .collect();
    let platforms: Option<Vec<String>> = match platforms {
        PlatformSelection::All => None,
        PlatformSelection::Only(list) => Some(list.iter().map(ToString::to_string).collect()),
    };
    Basis::of((record.uid(), record.metadata.generation, who, platforms))
}

/// Whether an earlier look came to an end.
fn is_settled(record: &ImageConversion) -> bool {
    let ready = record.status.as_ref().and_then(|status| condition(status, READY));
    let under_way = [RecordReason::Pending, RecordReason::Converting].map(RecordReason::as_str);
    ready.is_some_and(|ready| !under_way.contains(&&*ready.reason))
}

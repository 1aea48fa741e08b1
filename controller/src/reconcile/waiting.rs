//! Messages of records that wait for their first look.

use kube::Api;
use zstart_core::ImageConversion;
use zstart_core::record::{ImageConversionStatus, READY, RecordReason, condition};

use super::status_writer::StatusWriter;
use crate::context::Context;

/// Records that a record's first look waits for `registry`, which doesn't answer. Nothing is sent to the registry.
pub(crate) async fn hold(context: &Context, name: &str, registry: &str) -> kube::Result<()> {
    let message = format!("{registry} doesn't answer; the source waits for its first look until it does");
    set_waiting(context, name, RecordReason::RegistryUnavailable, &message, |_| true).await
}

/// Records that a record waits for its first look, unless it has the result of an earlier process.
pub(crate) async fn wait(context: &Context, name: &str, message: &str) -> kube::Result<()> {
    let waits = [RecordReason::Pending, RecordReason::RegistryUnavailable].map(RecordReason::as_str);
    let is_waiting = |status: &ImageConversionStatus| {
        condition(status, READY).is_none_or(|ready| waits.contains(&&*ready.reason))
    };
    set_waiting(context, name, RecordReason::Pending, message, is_waiting).await
}

/// Records for what a first look waits, if the source has no digest yet and the status permits it.
async fn set_waiting(
    context: &Context,
    name: &str,
    reason: RecordReason,
    message: &str,
    permits: impl Fn(&ImageConversionStatus) -> bool,
) -> kube::Result<()> {
    let records = Api::<ImageConversion>::all(context.client.clone());
    let Some(found) = records.get_opt(name).await? else { return Ok(()) };
    if found.status.as_ref().is_some_and(|status| status.source.is_some() || !permits(status)) {
        return Ok(());
    }
    let mut writer = StatusWriter::new(&context.client, &context.api_clock, &found, None);
    writer.set_waiting(reason, message);
    writer.write().await.map(drop)
}

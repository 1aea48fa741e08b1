//! Phase *execute*: converts the source and pushes its variant.

use std::pin::pin;

use tokio::sync::watch;
use zstart_convert::plan::ManifestPlan;
use zstart_convert::{Error, NamedVariant, Plan};
use zstart_core::Digest;
use zstart_core::record::RecordReason;
use zstart_registry::TagListing;
use zstart_registry::auth::Credentials;

use super::error::ReconcileError;
use super::reconciliation::Reconciliation;
use super::status::{Origin, Produced};
use super::status_writer::StatusWriter;
use super::target::Target;
use crate::context::ImageKey;
use crate::executor::{Conversion, Converted};
use crate::scheduler::conversions::Request;

/// A conversion that was planned.
#[derive(Clone, Copy)]
pub(super) struct Planned<'a> {
    pub(super) plan: &'a Plan,
    /// The repository's tags, if they were read.
    pub(super) listing: Option<&'a TagListing>,
    pub(super) credentials: &'a Credentials,
}

impl Reconciliation<'_> {
    /// Waits for a permit, then converts. A variant that another tag of the image got in the meantime is
    /// tagged instead.
    pub(super) async fn convert(
        &self,
        target: Target<'_>,
        planned: Planned<'_>,
        writer: &mut StatusWriter<'_>,
    ) -> Result<Produced, ReconcileError> {
        let context = self.context;
        let Target { repository, source, names } = target;
        let Planned { plan, listing, credentials } = planned;
        let digest = &plan.source.digest;
        writer.set_pending(digest, context.conversion_permits.waiting());
        writer.write().await?;
        let key = (repository.location().to_owned(), digest.clone());
        let _image_lock = context.image_locks.acquire(key.clone()).await;
        if let Some(variant) = self.adopt(&key, target, plan).await? {
            return Ok(Produced { variant, origin: Origin::Existing });
        }
        let bytes = plan.conversions().map(ManifestPlan::source_bytes).sum();
        let namespace = self.consumers.first().map(|consumer| consumer.namespace.clone()).unwrap_or_default();
        let request = Request { registry: source.registry().to_owned(), namespace, bytes };
        let _permit = context.conversion_permits.acquire(request).await;
        let _running = context.metrics.start_conversion();
        let settings = &self.settings;
        let conversion = Conversion {
            record: self.record,
            source,
            repository,
            credentials,
            names,
            plan,
            settings,
            listing,
            changes: self.changes,
        };
        let Converted { variant, transcoder_faults, took } = self.execute(conversion, writer).await?;
        let image = &variant.image;
        context.remember_variant(key, image.digest.clone());
        context.metrics.count_conversion(image.source_bytes(), image.variant_bytes(), took);
        context.metrics.count_transcoder_faults(transcoder_faults);
        Ok(Produced { variant, origin: Origin::Converted { took } })
    }

    /// Hands a conversion to the executor, and records for what the conversion waits meanwhile.
    async fn execute(
        &self,
        conversion: Conversion<'_>,
        writer: &mut StatusWriter<'_>,
    ) -> Result<Converted, ReconcileError> {
        let digest = &conversion.plan.source.digest;
        writer.set_converting(digest);
        writer.write().await?;
        let (told, mut waiting) = watch::channel(None);
        let mut converting = pin!(self.context.executor.convert(self.context, conversion, &told));
        loop {
            tokio::select! {
                converted = &mut converting => return Ok(converted?),
                changed = waiting.changed() => if changed.is_ok() {
                    let reason = waiting.borrow_and_update().clone();
                    set_waiting(writer, digest, reason.as_deref());
                    // The conversion goes on: its end writes the status too. It learns by itself that the record is
                    // gone, and deletes its Job.
                    if let Err(error) = writer.write().await {
                        tracing::debug!(error = zstart_core::chain(&error), "failed to write why a conversion waits");
                    }
                },
            }
        }
    }

    /// Tags the variant that this process made of the same image under another tag, if it is complete.
    async fn adopt(
        &self,
        key: &ImageKey,
        target: Target<'_>,
        plan: &Plan,
    ) -> Result<Option<NamedVariant>, ReconcileError> {
        let Target { repository, source, names } = target;
        let Some(variant) = self.context.converted_variant(key) else { return Ok(None) };
        let adopted = zstart_convert::adopt(repository, source, names, plan, &variant).await;
        let Some(variant) = adopted.map_err(ReconcileError::convert)? else { return Ok(None) };
        match zstart_convert::verify_pushed(repository, &variant.tag, plan, &variant.image).await {
            Ok(()) => Ok(Some(variant)),
            Err(error @ Error::NotVerified { .. }) => {
                tracing::warn!(%source, error = error.chain(), "variant is incomplete, converting again");
                Ok(None)
            }
            Err(error) => Err(ReconcileError::convert(error)),
        }
    }
}

fn set_waiting(writer: &mut StatusWriter<'_>, digest: &Digest, reason: Option<&str>) {
    if let Some(reason) = reason {
        let message = format!("waiting to convert {digest}: {reason}");
        writer.set_waiting(RecordReason::Pending, &message);
    } else {
        writer.set_converting(digest);
    }
}

//! Phase *execute*: converts the source and pushes its variant.

use std::time::Instant;

use tokio::time::timeout;
use tracing::info;
use zstart_convert::plan::ManifestPlan;
use zstart_convert::progress::Silent;
use zstart_convert::{Error, Execution, Job, NamedVariant, Plan, VariantTagging};
use zstart_registry::TagListing;

use super::error::ReconcileError;
use super::reconciliation::Reconciliation;
use super::status::{Origin, Produced};
use super::status_writer::StatusWriter;
use super::target::Target;
use crate::context::ImageKey;
use crate::scheduler::conversions::Request;

impl Reconciliation<'_> {
    /// Waits for a permit, then converts. A variant that another tag of the image got in the meantime is
    /// tagged instead. `listing` are the repository's tags, if they were read.
    pub(super) async fn convert(
        &self,
        target: Target<'_>,
        plan: &Plan,
        listing: Option<&TagListing>,
        writer: &mut StatusWriter<'_>,
    ) -> Result<Produced, ReconcileError> {
        let context = self.context;
        let Target { repository, source, .. } = target;
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
        let started = Instant::now();
        writer.set_converting(digest);
        writer.write().await?;
        let limit = context.config.conversion_timeout;
        let converted = timeout(limit, self.execute(target, plan, listing)).await;
        let variant = converted.map_err(|_| ReconcileError::ConversionTimeout { limit })??;
        let image = &variant.image;
        context.remember_variant(key, image.digest.clone());
        let took = started.elapsed();
        context.metrics.count_conversion(image.source_bytes(), image.variant_bytes(), took);
        Ok(Produced { variant, origin: Origin::Converted { took } })
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
        let Some(variant) = adopted.map_err(ReconcileError::Convert)? else { return Ok(None) };
        match zstart_convert::verify_pushed(repository, &variant.tag, plan, &variant.image).await {
            Ok(()) => Ok(Some(variant)),
            Err(error @ Error::NotVerified { .. }) => {
                tracing::warn!(%source, error = error.chain(), "variant is incomplete, converting again");
                Ok(None)
            }
            Err(error) => Err(ReconcileError::Convert(error)),
        }
    }

    /// Converts, pushes and verifies the variant.
    async fn execute(
        &self,
        target: Target<'_>,
        plan: &Plan,
        listing: Option<&TagListing>,
    ) -> Result<NamedVariant, ReconcileError> {
        let Target { repository, source, names } = target;
        let digest = &plan.source.digest;
        info!(%source, %digest, "converting an image");
        let job = Job {
            source: repository,
            target: repository,
            settings: &self.settings,
            layer_cache: &self.context.layer_cache,
            progress: &Silent,
        };
        let tagging = VariantTagging::Derived { names, listing };
        let Execution { image, tag, layers_reused } =
            zstart_convert::execute(job, source, tagging, plan).await.map_err(ReconcileError::Convert)?;
        info!(%source, %digest, layers_reused, "converted an image");
        zstart_convert::verify_pushed(repository, &tag, plan, &image)
            .await
            .map_err(ReconcileError::Convert)?;
        Ok(NamedVariant { tag, image, is_complete: true })
    }
}

//! One look at a source, phase by phase: resolve, plan, execute, verify.

use std::time::Instant;

use tokio::sync::Semaphore;
use zstart_convert::engine::{Execution, Existing};
use zstart_convert::progress::Silent;
use zstart_convert::{Error, ErrorClass, Job, Plan, Settings, VariantImage, engine};
use zstart_core::record::{RecordReason, record_name};
use zstart_core::{ImageConversion, Reference, Tag, variant};
use zstart_registry::ManifestKey;
use zstart_registry::Store;
use zstart_registry::auth::Credentials;

use super::error::ReconcileError;
use super::requeue::LastVerified;
use super::status::{self, Origin, VerifiedVariant};
use super::status_writer::StatusWriter;
use crate::context::Context;
use crate::credentials::Candidates;
use crate::demand::Consumer;
use crate::events::Kind;

/// A look that ended well.
pub(super) enum Outcome {
    /// A variant serves.
    Ready(Box<VerifiedVariant>),
    /// It is the one that served before.
    Unchanged(LastVerified),
    /// Nothing needs to be converted.
    AlreadyZstd,
}

/// What is looked at, and for whom.
pub(super) struct Reconciliation<'a> {
    pub(super) context: &'a Context,
    pub(super) record: &'a ImageConversion,
    pub(super) consumers: &'a [Consumer],
    pub(super) settings: Settings,
    /// What the last look found, if nothing else changed since.
    pub(super) last_verified: Option<LastVerified>,
}

impl Reconciliation<'_> {
    /// Looks with each of the credentials that there are, until one of them is let in.
    pub(super) async fn run(&self, writer: &mut StatusWriter<'_>) -> Result<Outcome, ReconcileError> {
        let source = self.source()?;
        let Context { client, own_credentials, .. } = self.context;
        let mut candidates = Candidates::new(client, own_credentials, self.consumers, source);
        let mut refused: Option<ReconcileError> = None;
        while let Some(credentials) = candidates.next().await? {
            match self.with(source, credentials, writer).await {
                Err(failure) if failure.depends_on_credentials() => {
                    refused = Some(match refused {
                        Some(before) => before.more_specific(failure),
                        None => failure,
                    });
                }
                ended => return ended,
            }
        }
        let Some(failure) = refused else { unreachable!("anonymous is always a candidate") };
        Err(failure)
    }

    /// The record's source, if the record is one that zstart can follow.
    fn source(&self) -> Result<&Reference, ReconcileError> {
        let source = &self.record.spec.source;
        let identity = source.identity();
        let expected = record_name(source);
        if source != &identity {
            return Err(ReconcileError::Record(format!(
                "source {source} is not in its normal form: delete this record and make one with source {identity}"
            )));
        }
        if self.record.metadata.name.as_ref() != Some(&expected) {
            return Err(ReconcileError::Record(format!(
                "the record of {source} must be named {expected}: delete this one and make that"
            )));
        }
        variant::require_source(source).map_err(|refusal| ReconcileError::Record(refusal.to_string()))
    }

    async fn with(
        &self,
        source: &Reference,
        credentials: Credentials,
        writer: &mut StatusWriter<'_>,
    ) -> Result<Outcome, ReconcileError> {
        let repository = self.context.registries.repository(source, credentials);
        let looking = self.context.lookup_permits.permit(source.registry().to_owned()).await;
        // Not where trouble in between took the variant out of service: it is verified anew first.
        if let Some(last_verified) = self.last_verified.as_ref().filter(|_| writer.status().variant.is_some())
            && is_unchanged(&*repository, source, last_verified, writer).await?
        {
            return Ok(Outcome::Unchanged(last_verified.clone()));
        }
        let resolved = engine::resolve(&*repository, source).await.map_err(ReconcileError::Resolve)?;
        let digest = resolved.digest();
        writer.change(|status, now| status::resolved(status, digest, now));
        if writer.status().variant.is_none() && self.record_has_variant() {
            // The tag moved: no pod may be pointed at the old image while the new one is converted.
            writer.write().await?;
        }
        let tag = variant::tag(source, digest);
        let mut plan =
            engine::plan(&*repository, &resolved, &self.settings).await.map_err(ReconcileError::Convert)?;
        if plan.already_zstd() {
            return Ok(Outcome::AlreadyZstd);
        }
        let found =
            match engine::find_variant(&*repository, &tag, &plan).await.map_err(ReconcileError::Convert)? {
                Existing::Variant(image) => {
                    let image = verify_existing(&*repository, &tag, &plan, image).await?;
                    if image.is_none() {
                        writer.change(|status, _| status::remove_variant(status));
                    }
                    image
                }
                Existing::Partial(platforms) => {
                    let settings = self.settings.with_platforms(&platforms);
                    plan = engine::plan(&*repository, &resolved, &settings)
                        .await
                        .map_err(ReconcileError::Convert)?;
                    None
                }
                Existing::Nothing => None,
            };
        drop(looking);
        let (image, origin) = if let Some(image) = found {
            (image, Origin::Existing)
        } else {
            let made = self.make(&*repository, source, &tag, &plan, writer).await?;
            // That took its time, and pods may be pointed at it only while it is known what the tag
            // means.
            engine::ensure_source_unchanged(&*repository, source, digest)
                .await
                .map_err(ReconcileError::Convert)?;
            writer.change(|status, now| status::resolved(status, digest, now));
            made
        };
        let reference = source.with_tag_and_digest(tag, image.digest.clone());
        Ok(Outcome::Ready(Box::new(VerifiedVariant { reference, source: digest.clone(), image, origin })))
    }

    /// Whether the record, as it was read, says that pods are pointed at a variant.
    fn record_has_variant(&self) -> bool {
        self.record.status.as_ref().is_some_and(|status| status.variant.is_some())
    }

    async fn make(
        &self,
        repository: &dyn Store,
        source: &Reference,
        tag: &Tag,
        plan: &Plan,
        writer: &mut StatusWriter<'_>,
    ) -> Result<(VariantImage, Origin), ReconcileError> {
        let context = self.context;
        let digest = &plan.source.digest;
        writer.change(|status, now| status::pending(status, digest, now));
        writer.write().await?;
        let key = (repository.location().to_owned(), digest.clone());
        let _alone = context.image_locks.permit(key.clone()).await;
        if let Some(made) = context.converted_variant(&key)
            && let Some(image) =
                engine::adopt(repository, source, tag, plan, &made).await.map_err(ReconcileError::Convert)?
            && let Some(image) = verify_existing(repository, tag, plan, image).await?
        {
            return Ok((image, Origin::Existing));
        }
        let _worker = permit(&context.conversion_permits).await;
        let _running = context.metrics.start_conversion();
        let started = Instant::now();
        writer.change(|status, now| status::converting(status, digest, now));
        writer.write().await?;
        let note = format!("converting {source}, which is {digest}");
        context
            .events
            .publish(self.record, self.consumers, Kind::Normal, RecordReason::Converting, &note)
            .await;
        tracing::info!(%source, %digest, "converting");
        let job = Job {
            source: repository,
            target: repository,
            settings: &self.settings,
            memory: &context.layer_memory,
            progress: &Silent,
        };
        let Execution { image, layers_reused } =
            engine::execute(job, source, tag, plan).await.map_err(ReconcileError::Convert)?;
        tracing::info!(%source, %digest, layers_reused, "converted");
        engine::verify(repository, tag, plan, &image).await.map_err(ReconcileError::Convert)?;
        context.remember_variant(key, image.digest.clone());
        let took = started.elapsed();
        context.metrics.count_conversion(image.source_bytes(), image.variant_bytes(), took);
        Ok((image, Origin::Converted { took }))
    }
}

/// Whether nothing happened since the last look: the source means what it meant, and so does the
/// variant's tag.
async fn is_unchanged(
    repository: &dyn Store,
    source: &Reference,
    last_verified: &LastVerified,
    writer: &mut StatusWriter<'_>,
) -> Result<bool, ReconcileError> {
    let digest = engine::resolve_digest(repository, source).await.map_err(ReconcileError::Resolve)?;
    if digest != last_verified.source {
        return Ok(false);
    }
    writer.change(|status, now| status::resolved(status, &digest, now));
    let tag = variant::tag(source, &digest);
    match engine::resolve_digest(repository, ManifestKey::Tag(&tag)).await {
        Ok(found) => Ok(found == last_verified.variant),
        Err(error) if error.class() == ErrorClass::NotFound => Ok(false),
        Err(error) => Err(ReconcileError::Convert(error)),
    }
}

/// A variant that was found, if everything that it names is there. One that lost something is made
/// again.
async fn verify_existing(
    repository: &dyn Store,
    tag: &Tag,
    plan: &Plan,
    image: VariantImage,
) -> Result<Option<VariantImage>, ReconcileError> {
    match engine::verify(repository, tag, plan, &image).await {
        Ok(()) => Ok(Some(image)),
        Err(error @ Error::NotVerified { .. }) => {
            tracing::warn!(error = error.chain(), "making a variant again");
            Ok(None)
        }
        Err(error) => Err(ReconcileError::Convert(error)),
    }
}

async fn permit(semaphore: &Semaphore) -> tokio::sync::SemaphorePermit<'_> {
    let Ok(permit) = semaphore.acquire().await else { unreachable!("no semaphore here is ever closed") };
    permit
}

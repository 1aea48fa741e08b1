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

use super::attempts::Settled;
use super::failure::Failure;
use super::journal::Journal;
use super::status::{self, Origin, Served};
use crate::context::Context;
use crate::credentials::Candidates;
use crate::demand::Wanter;
use crate::events::Kind;

/// A look that ended well.
pub(super) enum Found {
    /// A variant serves.
    Served(Box<Served>),
    /// It is the one that served before.
    Unchanged(Settled),
    /// Nothing needs to be converted.
    AlreadyZstd,
}

/// What is looked at, and for whom.
pub(super) struct Look<'a> {
    pub(super) context: &'a Context,
    pub(super) record: &'a ImageConversion,
    pub(super) wanters: &'a [Wanter],
    pub(super) settings: Settings,
    /// What the last look found, if nothing else changed since.
    pub(super) settled: Option<Settled>,
}

impl Look<'_> {
    /// Looks with each of the credentials that there are, until one of them is let in.
    pub(super) async fn run(&self, journal: &mut Journal<'_>) -> Result<Found, Failure> {
        let source = self.source()?;
        let Context { client, own, .. } = self.context;
        let mut candidates = Candidates::new(client, own, self.wanters, source);
        let mut refused: Option<Failure> = None;
        while let Some(credentials) = candidates.next().await? {
            match self.with(source, credentials, journal).await {
                Err(failure) if failure.is_about_credentials() => {
                    refused = Some(match refused {
                        Some(before) => before.or_further(failure),
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
    fn source(&self) -> Result<&Reference, Failure> {
        let source = &self.record.spec.source;
        let identity = source.identity();
        let expected = record_name(source);
        if source != &identity {
            return Err(Failure::Record(format!(
                "source {source} is not in its normal form: delete this record and make one with source {identity}"
            )));
        }
        if self.record.metadata.name.as_ref() != Some(&expected) {
            return Err(Failure::Record(format!(
                "the record of {source} must be named {expected}: delete this one and make that"
            )));
        }
        variant::require_source(source).map_err(|refusal| Failure::Record(refusal.to_string()))
    }

    async fn with(
        &self,
        source: &Reference,
        credentials: Credentials,
        journal: &mut Journal<'_>,
    ) -> Result<Found, Failure> {
        let repository = self.context.registries.repository(source, credentials);
        let looking = self.context.looks.acquire(source.registry().to_owned()).await;
        // Not where trouble in between took the variant out of service: it is verified anew first.
        if let Some(settled) = self.settled.as_ref().filter(|_| journal.status().variant.is_some())
            && still_there(&*repository, source, settled, journal).await?
        {
            return Ok(Found::Unchanged(settled.clone()));
        }
        let resolved = engine::resolve(&*repository, source).await.map_err(Failure::Resolve)?;
        let digest = resolved.digest();
        journal.change(|status, now| status::resolved(status, digest, now));
        if journal.status().variant.is_none() && self.record_serves() {
            // The tag moved: no pod may be pointed at the old image while the new one is converted.
            journal.write().await?;
        }
        let tag = variant::tag(source, digest);
        let mut plan =
            engine::plan(&*repository, &resolved, &self.settings).await.map_err(Failure::Convert)?;
        if plan.already_zstd() {
            return Ok(Found::AlreadyZstd);
        }
        let found = match engine::find_variant(&*repository, &tag, &plan).await.map_err(Failure::Convert)? {
            Existing::Variant(image) => {
                let whole = whole(&*repository, &tag, &plan, image).await?;
                if whole.is_none() {
                    journal.change(|status, _| status::withdraw(status));
                }
                whole
            }
            Existing::Partial(platforms) => {
                let settings = self.settings.with_platforms(&platforms);
                plan = engine::plan(&*repository, &resolved, &settings).await.map_err(Failure::Convert)?;
                None
            }
            Existing::Nothing => None,
        };
        drop(looking);
        let (image, origin) = if let Some(image) = found {
            (image, Origin::Found)
        } else {
            let made = self.make(&*repository, source, &tag, &plan, journal).await?;
            // That took its time, and pods may be pointed at it only while it is known what the tag
            // means.
            engine::ensure_source_unchanged(&*repository, source, digest).await.map_err(Failure::Convert)?;
            journal.change(|status, now| status::resolved(status, digest, now));
            made
        };
        let reference = source.with_tag_and_digest(tag, image.digest.clone());
        Ok(Found::Served(Box::new(Served { reference, source: digest.clone(), image, origin })))
    }

    /// Whether the record, as it was read, says that pods are pointed at a variant.
    fn record_serves(&self) -> bool {
        self.record.status.as_ref().is_some_and(|status| status.variant.is_some())
    }

    async fn make(
        &self,
        repository: &dyn Store,
        source: &Reference,
        tag: &Tag,
        plan: &Plan,
        journal: &mut Journal<'_>,
    ) -> Result<(VariantImage, Origin), Failure> {
        let context = self.context;
        let digest = &plan.source.digest;
        journal.change(|status, now| status::pending(status, digest, now));
        journal.write().await?;
        let key = (repository.location().to_owned(), digest.clone());
        let _alone = context.images.acquire(key.clone()).await;
        if let Some(made) = context.made(&key)
            && let Some(image) =
                engine::adopt(repository, source, tag, plan, &made).await.map_err(Failure::Convert)?
            && let Some(image) = whole(repository, tag, plan, image).await?
        {
            return Ok((image, Origin::Found));
        }
        let _worker = permit(&context.workers).await;
        let _running = context.metrics.run();
        let started = Instant::now();
        journal.change(|status, now| status::converting(status, digest, now));
        journal.write().await?;
        let note = format!("converting {source}, which is {digest}");
        context
            .events
            .publish(self.record, self.wanters, Kind::Normal, RecordReason::Converting, &note)
            .await;
        tracing::info!(%source, %digest, "converting");
        let job = Job {
            source: repository,
            target: repository,
            settings: &self.settings,
            layer_cache: &context.layers,
            progress: &Silent,
        };
        let Execution { image, layers_reused } =
            engine::execute(job, source, tag, plan).await.map_err(Failure::Convert)?;
        tracing::info!(%source, %digest, layers_reused, "converted");
        engine::verify(repository, tag, plan, &image).await.map_err(Failure::Convert)?;
        context.remember(key, image.digest.clone());
        let took = started.elapsed();
        context.metrics.converted(image.source_bytes(), image.variant_bytes(), took);
        Ok((image, Origin::Execution { took }))
    }
}

/// Whether nothing happened since the last look: the source means what it meant, and so does the
/// variant's tag.
async fn still_there(
    repository: &dyn Store,
    source: &Reference,
    settled: &Settled,
    journal: &mut Journal<'_>,
) -> Result<bool, Failure> {
    let digest = engine::resolve_digest(repository, source).await.map_err(Failure::Resolve)?;
    if digest != settled.source {
        return Ok(false);
    }
    journal.change(|status, now| status::resolved(status, &digest, now));
    let tag = variant::tag(source, &digest);
    match engine::resolve_digest(repository, ManifestKey::Tag(&tag)).await {
        Ok(found) => Ok(found == settled.variant),
        Err(error) if error.class() == ErrorClass::NotFound => Ok(false),
        Err(error) => Err(Failure::Convert(error)),
    }
}

/// A variant that was found, if everything that it names is there. One that lost something is made
/// again.
async fn whole(
    repository: &dyn Store,
    tag: &Tag,
    plan: &Plan,
    image: VariantImage,
) -> Result<Option<VariantImage>, Failure> {
    match engine::verify(repository, tag, plan, &image).await {
        Ok(()) => Ok(Some(image)),
        Err(error @ Error::NotVerified { .. }) => {
            tracing::warn!(error = error.chain(), "making a variant again");
            Ok(None)
        }
        Err(error) => Err(Failure::Convert(error)),
    }
}

async fn permit(semaphore: &Semaphore) -> tokio::sync::SemaphorePermit<'_> {
    let Ok(permit) = semaphore.acquire().await else { unreachable!("no semaphore here is ever closed") };
    permit
}

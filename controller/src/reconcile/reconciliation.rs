//! One reconciliation of a record, phase by phase.

use kube::runtime::events::EventType;
use zstart_convert::Settings;
use zstart_core::record::RecordReason;
use zstart_core::{ImageConversion, Reference, variant};
use zstart_registry::auth::Credentials;

use super::error::ReconcileError;
use super::plan::Planned;
use super::requeue::LastVerified;
use super::status::{Origin, Produced, VerifiedVariant};
use super::status_writer::StatusWriter;
use super::target::Target;
use super::{plan, resolve};
use crate::context::Context;
use crate::credentials::Candidates;
use crate::demand::Consumer;

/// Outcome of a reconciliation that didn't fail.
pub(super) enum Outcome {
    /// A verified variant exists.
    Ready(Box<VerifiedVariant>),
    /// The source and its variant are those of the last reconciliation.
    Unchanged(LastVerified),
    /// The source needs no conversion.
    AlreadyZstd,
}

/// Inputs of one reconciliation.
pub(super) struct Reconciliation<'a> {
    pub(super) context: &'a Context,
    pub(super) record: &'a ImageConversion,
    pub(super) consumers: &'a [Consumer],
    pub(super) settings: Settings,
    /// Result of the last reconciliation, if its other inputs are unchanged.
    pub(super) last_verified: Option<LastVerified>,
}

impl Reconciliation<'_> {
    /// Tries the candidate credentials in turn until the registry accepts one of them.
    pub(super) async fn run(&self, writer: &mut StatusWriter<'_>) -> Result<Outcome, ReconcileError> {
        let source = resolve::valid_source(self.record)?;
        let Context { client, own_credentials, .. } = self.context;
        let mut candidates = Candidates::new(client, own_credentials, self.consumers, source);
        let mut denied: Option<ReconcileError> = None;
        while let Some(credentials) = candidates.next().await? {
            match self.run_with(credentials, source, writer).await {
                Err(error) if error.depends_on_credentials() => {
                    denied = Some(match denied {
                        Some(earlier) => earlier.more_specific(error),
                        None => error,
                    });
                }
                result => return result,
            }
        }
        let Some(error) = denied else { unreachable!("anonymous is always a candidate") };
        Err(error)
    }

    async fn run_with(
        &self,
        credentials: Credentials,
        source: &Reference,
        writer: &mut StatusWriter<'_>,
    ) -> Result<Outcome, ReconcileError> {
        let repository = &*self.context.registries.repository(source, credentials);
        let lookup_permit = self.context.lookup_permits.acquire(source.registry().to_owned()).await;
        // A variant that an error removed from the status is verified in full again.
        if let Some(last) = self.last_verified.as_ref().filter(|_| writer.status().variant.is_some())
            && resolve::is_unchanged(repository, source, last, writer).await?
        {
            return Ok(Outcome::Unchanged(last.clone()));
        }
        let resolved = resolve::resolve(repository, source, writer).await?;
        if writer.status().variant.is_none() && self.record_has_variant() {
            // The tag moved: the webhook must not use the old variant while the new digest is converted.
            writer.write().await?;
        }
        let digest = resolved.digest();
        let tag = variant::tag(source, digest);
        let target = Target { repository, source, tag: &tag };
        let planned = plan::plan(target, &resolved, &self.settings, writer).await?;
        drop(lookup_permit);
        let Produced { image, origin } = match planned {
            Planned::AlreadyZstd => return Ok(Outcome::AlreadyZstd),
            Planned::Existing(image) => Produced { image, origin: Origin::Existing },
            Planned::Convert(plan) => {
                let produced = self.convert(target, &plan, writer).await?;
                // The tag may have moved during the conversion.
                zstart_convert::ensure_source_unchanged(repository, source, digest)
                    .await
                    .map_err(ReconcileError::Convert)?;
                writer.set_resolved(digest);
                produced
            }
        };
        let reference = source.with_tag_and_digest(tag, image.digest.clone());
        Ok(Outcome::Ready(Box::new(VerifiedVariant { reference, source: digest.clone(), image, origin })))
    }

    /// Whether the record had a variant when it was read.
    fn record_has_variant(&self) -> bool {
        self.record.status.as_ref().is_some_and(|status| status.variant.is_some())
    }

    /// Publishes an event on the record and on its consumers.
    pub(super) async fn publish(&self, type_: EventType, reason: RecordReason, note: &str) {
        self.context.events.publish(self.record, self.consumers, type_, reason, note).await;
    }
}

//! One reconciliation of a record, phase by phase.

use kube::ResourceExt as _;
use kube::runtime::events::EventType;
use zstart_convert::{NamedVariant, Settings};
use zstart_core::record::{READY, RecordReason, condition};
use zstart_core::{Digest, ImageConversion, Reference, VariantNames};
use zstart_registry::Store;
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
    /// The source, which has this digest, needs no conversion.
    AlreadyZstd(Digest),
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
        let Context { client, own_credentials, logins, config, immutable_tags, .. } = self.context;
        writer.set_immutable(immutable_tags.contains(source, own_credentials).await);
        let mut candidates =
            Candidates::new(client, own_credentials, &config.pull_secrets, logins, self.consumers, source);
        let mut denied: Option<ReconcileError> = None;
        while let Some(credentials) = candidates.next().await? {
            match self.run_with(credentials, source, writer).await {
                Err(error) if error.depends_on_credentials() => {
                    if error.is_denial() {
                        candidates.refused(error.is_login_refusal());
                    }
                    denied = Some(match denied {
                        Some(earlier) => earlier.more_specific(error),
                        None => error,
                    });
                }
                Ok(outcome) => {
                    candidates.accepted();
                    return Ok(outcome);
                }
                Err(error) => return Err(error),
            }
        }
        let Some(error) = denied else { unreachable!("anonymous is always a candidate") };
        Err(error.with_credentials(candidates.into_report()))
    }

    async fn run_with(
        &self,
        credentials: Credentials,
        source: &Reference,
        writer: &mut StatusWriter<'_>,
    ) -> Result<Outcome, ReconcileError> {
        let Context { repositories, registries, .. } = self.context;
        let name = self.record.name_any();
        let repository = repositories.get(&name, registries, source, credentials.clone());
        let outcome = self.run_in(&*repository, source, writer).await?;
        repositories.keep(name, credentials, repository);
        Ok(outcome)
    }

    async fn run_in(
        &self,
        repository: &dyn Store,
        source: &Reference,
        writer: &mut StatusWriter<'_>,
    ) -> Result<Outcome, ReconcileError> {
        let last = self.last_verified.as_ref().filter(|last| is_recorded(last, writer));
        if last.is_some() {
            self.context.look_pacer.wait(source.registry()).await;
        }
        let lookup_permit = self.context.lookup_permits.acquire(source.registry().to_owned()).await;
        if let Some(last) = last {
            let recheck = self.context.config.recheck_interval;
            if let Some(unchanged) = resolve::look(repository, source, last, recheck, writer).await? {
                return Ok(Outcome::Unchanged(unchanged));
            }
        }
        let resolved = resolve::resolve(repository, source, writer).await?;
        if writer.status().variant.is_none() && self.record_has_variant() {
            // The tag moved: the webhook must not use the old variant while the new digest is converted.
            writer.write().await?;
        }
        let digest = resolved.digest();
        let names = VariantNames::of(source, digest);
        let target = Target { repository, source, names: &names };
        let planned = plan::plan(target, &resolved, &self.settings, writer).await?;
        drop(lookup_permit);
        let Produced { variant, origin } = match planned {
            Planned::AlreadyZstd => return Ok(Outcome::AlreadyZstd(digest.clone())),
            Planned::Existing(variant) => Produced { variant, origin: Origin::Existing },
            Planned::Convert { plan, listing } => {
                let produced = self.convert(target, &plan, listing.as_ref(), writer).await;
                let produced = produced.map_err(|error| error.while_serving(&plan, writer.status()))?;
                // The tag may have moved during the conversion.
                let asked = writer.request_time();
                zstart_convert::ensure_source_unchanged(repository, source, digest)
                    .await
                    .map_err(ReconcileError::Convert)?;
                writer.set_resolved(digest, asked);
                produced
            }
        };
        let NamedVariant { tag, image, is_complete: _ } = variant;
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

/// Returns whether the status still has the last result. A variant that an error removed is verified in full again.
fn is_recorded(last: &LastVerified, writer: &StatusWriter<'_>) -> bool {
    let status = writer.status();
    let is_already_zstd =
        || condition(status, READY).is_some_and(|ready| ready.reason == RecordReason::AlreadyZstd.as_str());
    if last.variant.is_some() { status.variant.is_some() } else { is_already_zstd() }
}

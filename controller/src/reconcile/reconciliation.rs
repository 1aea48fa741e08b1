//! One reconciliation of a record, phase by phase.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;
use kube::runtime::events::EventType;
use tokio::time::timeout;
use zstart_convert::{AcceptedSettings, ErrorClass, NamedVariant, Plan, PlatformSelection, Settings};
use zstart_core::record::RecordReason;
use zstart_core::{Digest, ImageConversion, Platform, Reference, Tag, VariantNames};
use zstart_registry::auth::Credentials;
use zstart_registry::{Store, TagListing};

use super::error::ReconcileError;
use super::plan::Planned;
use super::requeue::Failure;
use super::status::{Origin, Produced, VerifiedVariant};
use super::status_writer::StatusWriter;
use super::target::Target;
use super::verdict::Verdict;
use super::{execute, plan, resolve};
use crate::config::Config;
use crate::context::Context;
use crate::credentials::{Audience, Candidates};
use crate::demand::Consumer;
use crate::executor::ConversionError;
use crate::governor::{Account, GovernedStore, PushRight};
use crate::scheduler::{LookSlot, RecordChanges};

/// Longest time of a look with one identity. A look is some small requests, each with attempts and time-outs of its
/// own.
const MAX_LOOK: Duration = Duration::from_mins(2);
/// Highest number of tags among which a variant is looked for.
const MAX_TAGS: usize = 20_000;

/// Outcome of a reconciliation that didn't fail.
pub(super) enum Outcome {
    /// A verified variant exists.
    Ready {
        /// The variant.
        variant: Box<VerifiedVariant>,
        /// Its tag.
        tag: Tag,
    },
    /// The last verdict still holds.
    Unchanged(Verdict),
    /// The source, which has this digest, needs no conversion.
    AlreadyZstd(Digest),
}

/// Inputs of one reconciliation.
pub(super) struct Reconciliation<'a> {
    pub(super) context: &'a Context,
    pub(super) record: &'a ImageConversion,
    pub(super) consumers: &'a [Consumer],
    pub(super) settings: Settings,
    /// Last verdict, if its other inputs are unchanged.
    pub(super) verdict: Option<Verdict>,
    /// Failure to replace the variant that serves, as long as the next attempt isn't due.
    pub(super) held_back: Option<Failure>,
    /// A user wants a look that relies on nothing remembered.
    pub(super) is_retry: bool,
    /// Variants that suffice.
    pub(super) accepts: AcceptedSettings,
    /// Right to look at the registry. Returned before a conversion.
    pub(super) slot: &'a LookSlot,
    /// Notices of changes of the record and its consumers.
    pub(super) changes: &'a RecordChanges,
}

/// Result of a look.
enum Looked {
    Done(Outcome),
    /// The source needs a conversion.
    Convert {
        plan: Plan,
        /// The repository's tags, if they were read.
        listing: Option<TagListing>,
        digest: Digest,
    },
}

impl Reconciliation<'_> {
    /// Runs the phases. Returns the result, and the namespaces whose events may tell it.
    pub(super) async fn run(
        &self,
        writer: &mut StatusWriter<'_>,
    ) -> (Result<Outcome, ReconcileError>, Audience) {
        let mut audience = Audience::Everyone;
        let result = self.try_candidates(writer, &mut audience).await;
        (result, audience)
    }

    /// Tries the candidate credentials in turn until the registry accepts one of them.
    async fn try_candidates(
        &self,
        writer: &mut StatusWriter<'_>,
        audience: &mut Audience,
    ) -> Result<Outcome, ReconcileError> {
        let source = resolve::valid_source(self.record)?;
        let Context { client, own_credentials, logins, config, immutable_tags, governor, .. } = self.context;
        if self.is_retry {
            governor.forget_push_rights(&source.name());
        }
        writer.set_immutable(immutable_tags.contains(source, own_credentials).await);
        let mut candidates =
            Candidates::new(client, own_credentials, &config.pull_secrets, logins, self.consumers, source);
        let mut denied: Option<(ReconcileError, usize)> = None;
        while let Some(credentials) = candidates.next().await? {
            match self.run_with(credentials, source, writer).await {
                Err(error) if error.depends_on_credentials() => {
                    if error.is_denial() {
                        candidates.refused(error.is_login_refusal());
                    }
                    if denied.as_ref().is_none_or(|(earlier, _)| error.is_more_specific_than(earlier)) {
                        denied = Some((error, candidates.position()));
                    }
                }
                result => {
                    if result.is_ok() {
                        candidates.accepted();
                    }
                    if tells_about_image(&result) {
                        *audience = candidates.audience(candidates.position()).await;
                    }
                    return result;
                }
            }
        }
        let Some((error, position)) = denied else { unreachable!("anonymous is always a candidate") };
        if error.tells_about_image() {
            *audience = candidates.audience(position).await;
        }
        Err(error.with_credentials(candidates.into_report()))
    }

    async fn run_with(
        &self,
        credentials: Credentials,
        source: &Reference,
        writer: &mut StatusWriter<'_>,
    ) -> Result<Outcome, ReconcileError> {
        let Context { repositories, registries, governor, .. } = self.context;
        let name = self.record.name_any();
        let account = Account::new(source.registry(), &credentials);
        let repository = repositories.get(&name, registries, source, credentials.clone());
        let governed = GovernedStore::new(Arc::clone(&repository), Arc::clone(governor), account.clone());
        let outcome = self.run_in(&governed, (&account, &credentials), source, writer).await;
        match outcome.as_ref().map_err(|error| (error, error.class())) {
            // The registry may have opened an upload, and refused what followed.
            Err((error, ErrorClass::PushDenied)) => {
                governor.remember_denial(&account, repository.location(), &error.to_string());
            }
            // The leader's own requests have told the governor.
            Err((
                ReconcileError::Conversion(ConversionError::Job(_)),
                ErrorClass::RateLimited { retry_after },
            )) => {
                governor.remember_pause(&account, retry_after);
            }
            _ => {}
        }
        repositories.keep(name, credentials, repository);
        outcome
    }

    async fn run_in(
        &self,
        repository: &dyn Store,
        (account, credentials): (&Account, &Credentials),
        source: &Reference,
        writer: &mut StatusWriter<'_>,
    ) -> Result<Outcome, ReconcileError> {
        let looked = timeout(MAX_LOOK, self.look(repository, account, source, writer)).await;
        let looked = looked.map_err(|_| ReconcileError::LookTimeout { limit: MAX_LOOK })??;
        let (plan, listing, digest) = match looked {
            Looked::Done(outcome) => return Ok(outcome),
            Looked::Convert { plan, listing, digest } => (plan, listing, digest),
        };
        self.slot.release();
        let names = VariantNames::of(source, &digest);
        let target = Target { repository, source, names: &names };
        let planned = execute::Planned { plan: &plan, listing: listing.as_ref(), credentials };
        let produced = self.convert(target, planned, writer).await;
        let Produced { variant, origin } =
            produced.map_err(|error| error.while_serving(&plan, writer.status()))?;
        // The tag may have moved during the conversion.
        let asked = writer.request_time();
        zstart_convert::ensure_source_unchanged(repository, source, &digest)
            .await
            .map_err(ReconcileError::convert)?;
        writer.set_resolved(&digest, asked);
        Ok(ready(source, digest, variant, origin))
    }

    /// Confirms the last verdict, or finds out what the source needs.
    async fn look(
        &self,
        repository: &dyn Store,
        account: &Account,
        source: &Reference,
        writer: &mut StatusWriter<'_>,
    ) -> Result<Looked, ReconcileError> {
        if let Some(verdict) = self.verdict.as_ref().filter(|verdict| verdict.is_shown(writer.status())) {
            let Config { recheck_interval, confirm_interval, .. } = self.context.config;
            let is_movable = source.digest().is_none() && !writer.is_immutable();
            let recheck = if is_movable { recheck_interval } else { confirm_interval };
            if let Some(unchanged) = resolve::look(repository, source, verdict, recheck, writer).await? {
                return Ok(Looked::Done(Outcome::Unchanged(unchanged)));
            }
        }
        let digest = resolve::resolve_digest(repository, source, writer).await?;
        if writer.status().variant.is_none() && self.record_has_variant() {
            // The tag moved: the webhook must not use the old variant while the new digest is converted.
            writer.write().await?;
        }
        let names = VariantNames::of(source, &digest);
        let denial = self.require_push_right(repository, account, &names, writer).await?;
        let resolved = resolve::resolve(repository, source, &digest, writer).await?;
        let target = Target { repository, source, names: &names };
        Ok(match plan::plan(target, &resolved, &self.settings, self.accepts, writer).await? {
            Planned::AlreadyZstd => Looked::Done(Outcome::AlreadyZstd(digest)),
            Planned::Existing(variant) => Looked::Done(ready(source, digest, variant, Origin::Existing)),
            Planned::Convert { plan, listing } => match denial {
                // The variant of other settings serves on. No layer is pulled for one that can't be pushed.
                Some(message) if self.accepts == AcceptedSettings::Current => {
                    return Err(ReconcileError::PushDenied { message });
                }
                _ => Looked::Convert { plan, listing, digest },
            },
        })
    }

    /// Requires the right to push, or a variant that exists. Returns the registry's denial in the second case. Pulls
    /// nothing.
    async fn require_push_right(
        &self,
        repository: &dyn Store,
        account: &Account,
        names: &VariantNames,
        writer: &StatusWriter<'_>,
    ) -> Result<Option<Arc<str>>, ReconcileError> {
        let governor = &self.context.governor;
        let right = governor.push_right(account, repository).await;
        let PushRight::Denied(message) = right.map_err(ReconcileError::convert)? else {
            return Ok(None);
        };
        if writer.status().variant.is_some() {
            return Ok(Some(message));
        }
        let listing = repository.look_up_tags(MAX_TAGS).await;
        let has_variant = match listing.map_err(ReconcileError::convert)? {
            TagListing::Read(tags) => tags.iter().any(|tag| names.contains(tag)),
            TagListing::Refused(_) => false,
        };
        if has_variant { Ok(Some(message)) } else { Err(ReconcileError::PushDenied { message }) }
    }

    /// The last verdict, which stays after a failure. That on a variant which is to be replaced doesn't.
    pub(super) fn last_verdict(&self) -> Option<Verdict> {
        self.verdict.clone().filter(|_| self.held_back.is_none())
    }

    /// Whether the record had a variant when it was read.
    fn record_has_variant(&self) -> bool {
        self.record.status.as_ref().is_some_and(|status| status.variant.is_some())
    }

    /// Platforms that this reconciliation takes into account.
    pub(super) fn platforms(&self) -> Option<Vec<Platform>> {
        match &self.settings.platforms {
            PlatformSelection::All => None,
            PlatformSelection::Only(platforms) => Some(platforms.clone()),
        }
    }

    /// Publishes an event on the record, and on those of its consumers that may read it.
    pub(super) async fn publish(
        &self,
        type_: EventType,
        reason: RecordReason,
        note: &str,
        audience: &Audience,
    ) {
        let consumers = audience.of(self.consumers);
        self.context.events.publish(self.record, &consumers, type_, reason, note).await;
    }
}

/// Returns whether an event about the result would tell about the image. Nothing is published about an unchanged one.
fn tells_about_image(result: &Result<Outcome, ReconcileError>) -> bool {
    match result {
        Ok(Outcome::Unchanged(_)) => false,
        Ok(Outcome::Ready { .. } | Outcome::AlreadyZstd(_)) => true,
        Err(error) => error.tells_about_image(),
    }
}

fn ready(source: &Reference, digest: Digest, variant: NamedVariant, origin: Origin) -> Outcome {
    let NamedVariant { tag, image, is_complete: _ } = variant;
    let reference = source.with_tag_and_digest(tag.clone(), image.digest.clone());
    Outcome::Ready { variant: Box::new(VerifiedVariant { reference, source: digest, image, origin }), tag }
}

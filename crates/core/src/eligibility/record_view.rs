//! Conversion records, reduced to the variant that they offer to pods now.

use std::time::Duration;

use jiff::Timestamp;

use super::{CandidateNodes, Reason};
use crate::digest::Digest;
use crate::platform::Platform;
use crate::record::{ImageConversion, READY, condition};
use crate::reference::Reference;

#[cfg(test)]
mod tests;

/// Record, reduced to the fields that decide. Clusters have thousands of records, and each pod needs a few.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordView {
    source: Reference,
    ready: Option<ReadyVariant>,
}

/// Variant of a record that is ready.
#[derive(Clone, Debug, PartialEq)]
struct ReadyVariant {
    /// Digest that the source resolved to at `checked_at`.
    resolved_digest: Digest,
    checked_at: Timestamp,
    /// Source digest that the variant was made from.
    source_digest: Digest,
    reference: Reference,
    platforms: Vec<Platform>,
}

/// Install-time settings for the use of variants.
#[derive(Clone, Debug)]
pub struct VariantPolicy {
    /// Longest time for which a resolved tag is trusted.
    pub max_staleness: Duration,
    /// Registries and repository prefixes where variants are allowed, in addition to the source's own
    /// repository.
    pub allowed_targets: Vec<TargetPrefix>,
}

/// Registry, or registry and prefix of repository names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetPrefix(String);

impl TargetPrefix {
    /// Takes `registry` or `registry/prefix`. Trailing slashes are dropped.
    pub fn new(text: &str) -> Self {
        Self(text.trim_end_matches('/').to_owned())
    }

    /// Returns whether `reference` has this prefix. Only whole path components count: `r.example/team`
    /// doesn't cover `r.example/teammate/app`.
    pub fn covers(&self, reference: &Reference) -> bool {
        let name = reference.name();
        let rest = name.strip_prefix(&self.0);
        !self.0.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl From<ImageConversion> for RecordView {
    fn from(record: ImageConversion) -> Self {
        let ready = record.status.and_then(|status| {
            let is_ready = condition(&status, READY).is_some_and(|ready| ready.status == "True");
            let (source, variant) = status.source.zip(status.variant).filter(|_| is_ready)?;
            // An unpinned reference could name another image later.
            variant.reference.digest()?;
            Some(ReadyVariant {
                resolved_digest: source.digest,
                checked_at: source.checked_at.0,
                source_digest: variant.source_digest,
                reference: variant.reference,
                platforms: variant.platforms.into_iter().map(|covered| covered.platform).collect(),
            })
        });
        Self { source: record.spec.source.identity(), ready }
    }
}

impl RecordView {
    /// Identity of the record's source.
    pub fn source(&self) -> &Reference {
        &self.source
    }

    /// Returns the variant that may replace the source now, before candidate nodes are checked.
    pub fn variant(&self, policy: &VariantPolicy, now: Timestamp) -> Result<&Reference, Reason> {
        let ReadyVariant { resolved_digest, checked_at, source_digest, reference, platforms: _ } =
            self.ready.as_ref().ok_or(Reason::RecordNotReady)?;
        match self.source.digest() {
            // A digest never names another image, so its record never grows stale.
            Some(asked) if asked == source_digest => {}
            None if resolved_digest == source_digest => {
                // A check time slightly in the future comes from a clock that runs ahead. A check time far
                // in the future would keep the record fresh for longer than `max_staleness`.
                if now.duration_since(*checked_at).unsigned_abs() > policy.max_staleness {
                    return Err(Reason::RecordStale);
                }
            }
            _ => return Err(Reason::SourceMoved),
        }
        let own = reference.registry() == self.source.registry()
            && reference.repository() == self.source.repository();
        if own || policy.allowed_targets.iter().any(|target| target.covers(reference)) {
            Ok(reference)
        } else {
            Err(Reason::TargetNotAllowed)
        }
    }

    /// Checks that the variant covers every candidate node. For nodes that don't exist yet, see
    /// [`Placement::for_future_nodes`](super::Placement::for_future_nodes).
    pub fn check_platforms(&self, candidates: &CandidateNodes) -> Result<(), Reason> {
        let covered = self.ready.as_ref().map(|ready| ready.platforms.as_slice()).unwrap_or_default();
        let is_covered = match candidates {
            CandidateNodes::Excluded(reason) => return Err(*reason),
            CandidateNodes::None => return Err(Reason::NoCandidateNode),
            CandidateNodes::AnyPlatform => !covered.is_empty(),
            CandidateNodes::Platforms(platforms) => {
                platforms.iter().all(|own| covered.iter().any(|image| own.accepts(image)))
            }
        };
        if is_covered { Ok(()) } else { Err(Reason::PlatformNotCovered) }
    }
}

//! What a conversion record offers to pods now.

use std::time::Duration;

use jiff::Timestamp;

use super::{CandidateNodes, Reason};
use crate::digest::Digest;
use crate::platform::Platform;
use crate::record::{ImageConversion, READY, condition};
use crate::reference::Reference;

#[cfg(test)]
mod tests;

/// A record, reduced to what decides. Clusters have thousands, and each pod asks for a few.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordView {
    source: Reference,
    ready: Option<ReadyVariant>,
}

/// A record that is ready.
#[derive(Clone, Debug, PartialEq)]
struct ReadyVariant {
    /// What the source meant when it was last looked up.
    resolved_digest: Digest,
    checked_at: Timestamp,
    /// What the variant was made of.
    source_digest: Digest,
    reference: Reference,
    platforms: Vec<Platform>,
}

/// What was said at install time of records.
#[derive(Clone, Debug)]
pub struct VariantPolicy {
    /// How long a looked-up tag is believed.
    pub max_staleness: Duration,
    /// Where variants may lie, besides their source's own repository.
    pub allowed_targets: Vec<TargetPrefix>,
}

/// A registry, or a registry and the beginning of a repository name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetPrefix(String);

impl TargetPrefix {
    /// `registry` or `registry/prefix`, at whose slashes names are cut.
    pub fn new(text: &str) -> Self {
        Self(text.trim_end_matches('/').to_owned())
    }

    /// Whether `reference` lies below it. Only whole path components count: `r.example/team` isn't
    /// in front of `r.example/teammate/app`.
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
            // A variant that isn't pinned could mean anything tomorrow.
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
    /// The source this record speaks of, by its identity.
    pub fn source(&self) -> &Reference {
        &self.source
    }

    /// The variant that may stand for the source now, wherever the pod lands.
    pub fn variant(&self, policy: &VariantPolicy, now: Timestamp) -> Result<&Reference, Reason> {
        let ReadyVariant { resolved_digest, checked_at, source_digest, reference, platforms: _ } =
            self.ready.as_ref().ok_or(Reason::RecordNotReady)?;
        match self.source.digest() {
            // A digest never means anything else, however long ago it was looked up.
            Some(asked) if asked == source_digest => {}
            None if resolved_digest == source_digest => {
                // A check that lies a little in the future is a clock that is ahead. One that is far
                // ahead would keep the record fresh for longer than was promised.
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

    /// Why the variant doesn't serve a pod that lands there, if so. For a node that nobody has seen,
    /// see [`Placement::for_future_nodes`](super::Placement::for_future_nodes).
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

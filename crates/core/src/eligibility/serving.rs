//! What a conversion record offers to pods now.

use std::time::Duration;

use jiff::Timestamp;

use super::{Landing, Reason};
use crate::digest::Digest;
use crate::platform::Platform;
use crate::record::{ImageConversion, READY, condition};
use crate::reference::Reference;

#[cfg(test)]
mod tests;

/// A record, reduced to what decides. Clusters have thousands, and each pod asks for a few.
#[derive(Clone, Debug, PartialEq)]
pub struct Serving {
    source: Reference,
    offer: Option<Offer>,
}

/// A record that is ready.
#[derive(Clone, Debug, PartialEq)]
struct Offer {
    /// What the source meant when it was last looked up.
    digest: Digest,
    checked_at: Timestamp,
    /// What the variant was made of.
    made_of: Digest,
    variant: Reference,
    platforms: Vec<Platform>,
}

/// What was said at install time of records.
#[derive(Clone, Debug)]
pub struct Rules {
    /// How long a looked-up tag is believed.
    pub max_staleness: Duration,
    /// Where variants may lie, besides their source's own repository.
    pub targets: Vec<TargetPrefix>,
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

impl From<ImageConversion> for Serving {
    fn from(record: ImageConversion) -> Self {
        let offer = record.status.and_then(|status| {
            let ready = condition(&status, READY).is_some_and(|ready| ready.status == "True");
            let (source, variant) = status.source.zip(status.variant).filter(|_| ready)?;
            // A variant that isn't pinned could mean anything tomorrow.
            variant.reference.digest()?;
            Some(Offer {
                digest: source.digest,
                checked_at: source.checked_at.0,
                made_of: variant.source_digest,
                variant: variant.reference,
                platforms: variant.platforms.into_iter().map(|covered| covered.platform).collect(),
            })
        });
        Self { source: record.spec.source.identity(), offer }
    }
}

impl Serving {
    /// The source this record speaks of, by its identity.
    pub fn source(&self) -> &Reference {
        &self.source
    }

    /// The variant that may stand for the source now, wherever the pod lands.
    pub fn variant(&self, rules: &Rules, now: Timestamp) -> Result<&Reference, Reason> {
        let Offer { digest, checked_at, made_of, variant, platforms: _ } =
            self.offer.as_ref().ok_or(Reason::RecordNotReady)?;
        match self.source.digest() {
            // A digest never means anything else, however long ago it was looked up.
            Some(asked) if asked == made_of => {}
            None if digest == made_of => {
                // A check that lies a little in the future is a clock that is ahead. One that is far
                // ahead would keep the record fresh for longer than was promised.
                if now.duration_since(*checked_at).unsigned_abs() > rules.max_staleness {
                    return Err(Reason::RecordStale);
                }
            }
            _ => return Err(Reason::SourceMoved),
        }
        let own =
            variant.registry() == self.source.registry() && variant.repository() == self.source.repository();
        if own || rules.targets.iter().any(|target| target.covers(variant)) {
            Ok(variant)
        } else {
            Err(Reason::TargetNotAllowed)
        }
    }

    /// Why the variant doesn't serve a pod that lands there, if so. For a node that nobody has seen,
    /// see [`Placement::landing_unseen`](super::Placement::landing_unseen).
    pub fn refusal(&self, landing: &Landing) -> Option<Reason> {
        let covered = self.offer.as_ref().map(|offer| offer.platforms.as_slice()).unwrap_or_default();
        match landing {
            Landing::Excluded(reason) => Some(*reason),
            Landing::Nowhere => Some(Reason::NoCandidateNode),
            Landing::Open => covered.is_empty().then_some(Reason::PlatformNotCovered),
            Landing::Platforms(platforms) => {
                let all = platforms.iter().all(|own| covered.iter().any(|image| own.accepts(image)));
                (!all).then_some(Reason::PlatformNotCovered)
            }
        }
    }
}

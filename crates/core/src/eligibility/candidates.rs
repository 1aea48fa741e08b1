//! Nodes that a pod could run on, and the check that each of them can start a variant.

use std::collections::BTreeSet;

use super::Reason;
use super::node_class::Candidate;
use super::record_view::ReadyVariant;
use super::runtime::{Runtime, SupportedRuntimes};
use crate::platform::Platform;
use crate::reference;

/// Nodes that a pod could run on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidates<'a> {
    /// Classes of the existing candidate nodes.
    pub nodes: Vec<Candidate<'a>>,
    /// Nodes that don't exist yet and can start every variant; `None` if the pod waits for none.
    pub future: Option<FutureNodes>,
}

/// Nodes that don't exist yet: those of Fargate, and those that an administrator vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FutureNodes {
    /// Platforms that the pod pins; `None` if it pins none.
    pub platforms: Option<BTreeSet<Platform>>,
}

/// Reason against a variant, and the node that gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked<'a> {
    /// Reason against the variant.
    pub reason: Reason,
    /// Class and node that block, if a single class does.
    pub candidate: Option<Candidate<'a>>,
}

impl From<Reason> for Blocked<'_> {
    fn from(reason: Reason) -> Self {
        Self { reason, candidate: None }
    }
}

impl<'a> Candidates<'a> {
    /// Checks that every candidate can start `variant` in place of the image that the author wrote as
    /// `written`, and that a candidate gets a converted platform.
    ///
    /// A variant's index lists the platforms that weren't converted as they were. A candidate of such a
    /// platform, or of one that the source doesn't have, behaves as with the source.
    pub fn check(
        &self,
        variant: &ReadyVariant,
        written: &str,
        runtimes: &SupportedRuntimes,
    ) -> Result<(), Blocked<'a>> {
        if self.nodes.is_empty() && self.future.is_none() {
            return Err(Reason::NoCandidateNode.into());
        }
        let mut gets_converted = self.future.as_ref().is_some_and(|future| future.gets_converted(variant));
        for candidate in &self.nodes {
            let blocked = |reason| Err(Blocked { reason, candidate: Some(*candidate) });
            let (platform, runtime) = (&candidate.class.platform, &candidate.class.runtime);
            let is_converted = platform.as_ref().is_some_and(|platform| variant.converts(platform));
            let is_windows = platform.as_ref().is_some_and(Platform::is_windows);
            if is_converted && is_windows {
                return blocked(Reason::Windows);
            }
            // A node that hasn't reported its platform may have a converted one. An image without an index
            // may start under an emulator.
            let may_get_zstd = is_converted
                || platform.is_none()
                || runtime.as_ref().is_none_or(|runtime| !runtime.refuses_other_platforms());
            let is_supported = runtime.as_ref().is_some_and(|runtime| runtimes.include(runtime));
            if may_get_zstd && !is_supported && !is_windows {
                return blocked(Reason::RuntimeUnsupported);
            }
            let searches = runtime.as_ref().is_some_and(Runtime::searches_registries);
            if searches && !reference::names_registry(written) {
                return blocked(Reason::AmbiguousName);
            }
            gets_converted |= is_converted;
        }
        if gets_converted { Ok(()) } else { Err(Reason::PlatformNotCovered.into()) }
    }
}

impl FutureNodes {
    fn gets_converted(&self, variant: &ReadyVariant) -> bool {
        match &self.platforms {
            Some(platforms) => platforms.iter().any(|platform| variant.converts(platform)),
            None => !variant.platforms().is_empty(),
        }
    }
}

#[cfg(test)]
mod tests;

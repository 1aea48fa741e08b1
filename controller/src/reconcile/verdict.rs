//! The result of a reconciliation that stays true while the source has the same digest.
//!
//! A verdict costs one HEAD to confirm. Registries with a pull allowance don't count HEAD requests.

use std::time::Instant;

use zstart_core::record::{ImageConversionStatus, READY, RecordReason, condition};
use zstart_core::{Digest, Platform, Tag};

/// The result of a reconciliation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Digest of the source.
    pub(crate) source: Digest,
    pub(crate) kind: VerdictKind,
}

/// Kinds of results that the source's digest decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum VerdictKind {
    /// The registry has a variant.
    Variant(VerifiedTag),
    /// The source needs no variant.
    AlreadyZstd,
    /// The source can't be converted: the reason is [`RecordReason::NotConvertible`] or
    /// [`RecordReason::ContentMismatch`].
    Refused(RecordReason),
}

/// A variant whose tag was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VerifiedTag {
    pub(crate) tag: Tag,
    pub(crate) digest: Digest,
    /// `None`: not since the controller started.
    pub(crate) checked_at: Option<Instant>,
}

impl Verdict {
    /// Reads the verdict that an earlier process recorded for `platforms`.
    pub(super) fn recorded(status: &ImageConversionStatus, platforms: Option<&[Platform]>) -> Option<Self> {
        if !covers(status.platforms.as_deref(), platforms) {
            return None;
        }
        let source = status.source.as_ref()?.digest.clone();
        let kind = VerdictKind::recorded(status, &source)?;
        Some(Self { source, kind })
    }

    /// Reads the verdict on the variant that a status offers, whichever platforms it covers.
    pub(super) fn serving(status: &ImageConversionStatus) -> Option<Self> {
        let source = status.source.as_ref()?.digest.clone();
        let kind = VerdictKind::recorded(status, &source)?;
        matches!(kind, VerdictKind::Variant(_)).then_some(Self { source, kind })
    }

    /// Returns whether the status still shows this verdict. An error may have removed a variant.
    pub(super) fn is_shown(&self, status: &ImageConversionStatus) -> bool {
        let shown = VerdictKind::recorded(status, &self.source);
        match (&self.kind, shown) {
            (VerdictKind::Variant(_), Some(VerdictKind::Variant(_))) => true,
            (kind, shown) => shown.as_ref() == Some(kind),
        }
    }

    /// Reason that metrics count.
    pub(super) fn reason(&self) -> RecordReason {
        match &self.kind {
            VerdictKind::Variant(_) => RecordReason::Verified,
            VerdictKind::AlreadyZstd => RecordReason::AlreadyZstd,
            VerdictKind::Refused(reason) => *reason,
        }
    }
}

/// Returns whether a verdict for the platforms `judged` holds for `wanted` too. `None`: all platforms. A cluster that
/// lost the last node of a platform needs no new look.
pub(super) fn covers(judged: Option<&[Platform]>, wanted: Option<&[Platform]>) -> bool {
    match (judged, wanted) {
        (None, None) => true,
        (Some(judged), Some(wanted)) => wanted.iter().all(|platform| judged.contains(platform)),
        // A status of an earlier version names no platforms.
        (None, Some(_)) | (Some(_), None) => false,
    }
}

impl VerdictKind {
    fn recorded(status: &ImageConversionStatus, source: &Digest) -> Option<Self> {
        let ready = condition(status, READY)?;
        if ready.status == "True" {
            let variant = status.variant.as_ref().filter(|variant| variant.source_digest == *source)?;
            let (tag, digest) = (variant.reference.tag()?.clone(), variant.reference.digest()?.clone());
            return Some(Self::Variant(VerifiedTag { tag, digest, checked_at: None }));
        }
        let is = |reason: RecordReason| ready.reason == reason.as_str();
        if is(RecordReason::AlreadyZstd) {
            return Some(Self::AlreadyZstd);
        }
        let refused = [RecordReason::NotConvertible, RecordReason::ContentMismatch];
        refused.into_iter().find(|reason| is(*reason)).map(Self::Refused)
    }
}

//! Conversion records, reduced to the variant that they offer to pods now.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::Reason;
use crate::glob::Glob;
use crate::platform::Platform;
use crate::record::{HEALTHY, ImageConversion, ImageConversionStatus, READY, RecordReason, condition};
use crate::reference::{self, Reference};
use crate::sweep::{ConfirmationKey, Confirmations};

#[cfg(test)]
mod tests;

/// Longest time for which a variant is used without a sign that the registry still has it. The controller asks for a
/// variant of a tag that can't move every few hours.
pub const MAX_UNCONFIRMED: Duration = Duration::from_hours(24);

/// Record, reduced to the fields that decide. Clusters have tens of thousands of records, so the type is small.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordView {
    source: Box<str>,
    state: State,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    /// No variant, for this reason.
    NoVariant(Reason),
    /// The record is ready, as nearly all are.
    Ready(ReadyVariant),
}

/// Variant of a record that is ready.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadyVariant {
    /// The variant was made from the digest that the source names.
    is_of_source: bool,
    /// The source names its image by tag, and the registry may move the tag.
    is_movable: bool,
    /// Time at which the registry last confirmed the source's digest, by the record.
    checked_at: Timestamp,
    /// Entry of the record in the sweep, which has later confirmations.
    confirmation: ConfirmationKey,
    /// Registry and repository, if they aren't the source's own.
    target: Option<Box<str>>,
    /// Tag and digest as they follow the name: `:tag@sha256:…`. One text takes less memory than its parts.
    pin: Box<str>,
    platforms: Arc<[Platform]>,
    source_bytes: u64,
    variant_bytes: u64,
}

/// Install-time settings for the use of variants.
#[derive(Clone, Debug, Default)]
pub struct VariantPolicy {
    /// Longest time for which a resolved tag is trusted.
    pub max_staleness: Duration,
    /// Longest time for which a resolved tag is trusted for an image that is pulled at each start
    /// (`imagePullPolicy: Always`).
    pub max_staleness_always: Duration,
    /// Sources whose tags never move, as patterns of `registry/repository:tag`.
    pub immutable_tags: Vec<Glob>,
    /// Registries and repository prefixes where variants are allowed, in addition to the source's own
    /// repository.
    pub allowed_targets: Vec<TargetPrefix>,
    /// Smallest compressed size of a source's layers, in bytes.
    pub min_size: u64,
    /// Smallest reduction of the compressed size, in percent.
    pub min_gain: f64,
}

/// Wish of a pod for a fresh image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Time at which the pod's template was made or restarted, as far as it is known.
    pub template_time: Option<Timestamp>,
    /// The kubelet pulls the image at each start.
    pub pulled_always: bool,
}

/// Registry, or registry and prefix of repository names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetPrefix(String);

impl TargetPrefix {
    /// Takes `registry` or `registry/prefix`. Trailing slashes are dropped.
    pub fn new(text: &str) -> Self {
        Self(text.trim_end_matches('/').to_owned())
    }

    /// Returns whether `name`, a registry and a repository, has this prefix. Only whole path components
    /// count: `r.example/team` doesn't cover `r.example/teammate/app`.
    pub fn covers(&self, name: &str) -> bool {
        let rest = name.strip_prefix(&self.0);
        !self.0.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl From<ImageConversion> for RecordView {
    fn from(record: ImageConversion) -> Self {
        let source = record.spec.source.identity();
        let name = record.metadata.name.unwrap_or_default();
        let state = match record.status {
            Some(status) => State::of(&name, &source, status),
            None => State::NoVariant(Reason::RecordConverting),
        };
        Self { source: source.to_string().into(), state }
    }
}

impl State {
    fn of(name: &str, source: &Reference, status: ImageConversionStatus) -> Self {
        let ready = condition(&status, READY);
        if ready.is_none_or(|ready| ready.status != "True") {
            return Self::NoVariant(unready_reason(ready.map(|ready| ready.reason.as_str())));
        }
        if condition(&status, HEALTHY).is_some_and(|healthy| healthy.status == "False") {
            return Self::NoVariant(Reason::RecordUnhealthy);
        }
        let variant = status.source.zip(status.variant);
        let ready = variant.and_then(|(resolved, variant)| {
            let reference = &variant.reference;
            let sum = |bytes: fn(&crate::record::PlatformVariant) -> i64| {
                variant
                    .platforms
                    .iter()
                    .map(|platform| u64::try_from(bytes(platform)).unwrap_or_default())
                    .sum()
            };
            Some(ReadyVariant {
                is_of_source: *source.digest().unwrap_or(&resolved.digest) == variant.source_digest,
                is_movable: source.digest().is_none() && !resolved.immutable,
                checked_at: resolved.checked_at.0,
                confirmation: ConfirmationKey::new(name, &resolved.digest),
                target: (reference.name() != source.name()).then(|| reference.name().into()),
                pin: pin(reference)?,
                source_bytes: sum(|platform| platform.source_bytes),
                variant_bytes: sum(|platform| platform.variant_bytes),
                platforms: intern(
                    variant.platforms.into_iter().map(|converted| converted.platform).collect(),
                ),
            })
        });
        ready.map_or(Self::NoVariant(Reason::RecordNotReady), Self::Ready)
    }
}

/// Returns tag and digest of `variant` as they follow its name. A variant without a digest isn't used: the
/// reference could name another image later.
fn pin(variant: &Reference) -> Option<Box<str>> {
    let digest = variant.digest()?;
    let tag = variant.tag().map_or_else(String::new, |tag| format!(":{tag}"));
    Some(format!("{tag}@{digest}").into())
}

/// Returns the reason for which pods keep the source, by the reason of the record's condition `Ready`.
fn unready_reason(reason: Option<&str>) -> Reason {
    let is = |expected: &[RecordReason]| expected.iter().any(|known| Some(known.as_str()) == reason);
    match reason {
        None => Reason::RecordConverting,
        _ if is(&[RecordReason::Pending, RecordReason::Converting, RecordReason::SourceMoved]) => {
            Reason::RecordConverting
        }
        _ if is(&[RecordReason::AlreadyZstd, RecordReason::NotConvertible]) => Reason::RecordNotReady,
        Some(_) => Reason::RecordFailed,
    }
}

/// Shares equal lists of platforms: a cluster's records have a handful of them.
fn intern(platforms: Vec<Platform>) -> Arc<[Platform]> {
    static LISTS: Mutex<BTreeSet<Arc<[Platform]>>> = Mutex::new(BTreeSet::new());
    let mut lists = LISTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(list) = lists.get(platforms.as_slice()) {
        return Arc::clone(list);
    }
    // Lists that no record uses any more are dropped when a new one is added.
    lists.retain(|list| Arc::strong_count(list) > 1);
    let list: Arc<[Platform]> = platforms.into();
    lists.insert(Arc::clone(&list));
    list
}

impl RecordView {
    /// Identity of the record's source, in full.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Time at which the registry last confirmed the source's digest; `None` without a variant.
    pub fn checked_at(&self, sweep: &Confirmations) -> Option<Timestamp> {
        match &self.state {
            State::Ready(variant) => Some(variant.checked_at(sweep)),
            State::NoVariant(_) => None,
        }
    }

    /// Returns the variant that may replace the source now, before candidate nodes are checked. `sweep` has the
    /// confirmations that the record doesn't tell.
    pub fn variant(
        &self,
        policy: &VariantPolicy,
        freshness: Freshness,
        sweep: &Confirmations,
        now: Timestamp,
    ) -> Result<&ReadyVariant, Reason> {
        let variant = match &self.state {
            State::Ready(variant) => variant,
            State::NoVariant(reason) => return Err(*reason),
        };
        if !variant.is_of_source {
            return Err(Reason::SourceMoved);
        }
        let target = variant.target.as_deref();
        if target.is_some_and(|name| !policy.allowed_targets.iter().any(|allowed| allowed.covers(name))) {
            return Err(Reason::TargetNotAllowed);
        }
        if variant.is_movable && !policy.immutable_tags.iter().any(|tag| tag.matches(&self.source)) {
            variant.check_freshness(policy, freshness, sweep, now)?;
        } else if variant.is_older(MAX_UNCONFIRMED, sweep, now) {
            return Err(Reason::RecordStale);
        }
        if variant.source_bytes < policy.min_size {
            return Err(Reason::TooSmall);
        }
        if variant.gain() < policy.min_gain {
            return Err(Reason::GainTooSmall);
        }
        Ok(variant)
    }
}

impl ReadyVariant {
    fn check_freshness(
        &self,
        policy: &VariantPolicy,
        freshness: Freshness,
        sweep: &Confirmations,
        now: Timestamp,
    ) -> Result<(), Reason> {
        let max_staleness = if freshness.pulled_always {
            policy.max_staleness.min(policy.max_staleness_always)
        } else {
            policy.max_staleness
        };
        if self.is_older(max_staleness, sweep, now) {
            return Err(Reason::RecordStale);
        }
        // Kubernetes keeps times in whole seconds. In the same second, the tag may have moved after the look
        // and before the template's change.
        let checked_at = self.checked_at(sweep);
        let is_later = |time: Timestamp| time.as_second() >= checked_at.as_second();
        if freshness.template_time.is_some_and(is_later) { Err(Reason::NotFresh) } else { Ok(()) }
    }

    /// Reduction of the compressed size, in percent.
    fn gain(&self) -> f64 {
        if self.source_bytes == 0 {
            return 0.0;
        }
        // Sizes are far below 2^52 bytes.
        #[expect(clippy::cast_precision_loss, reason = "a percentage needs no such precision")]
        let (source, variant) = (self.source_bytes as f64, self.variant_bytes as f64);
        (source - variant) / source * 100.0
    }

    fn is_older(&self, max: Duration, sweep: &Confirmations, now: Timestamp) -> bool {
        // A check time slightly in the future comes from a clock that runs ahead. A check time far in the
        // future would keep the record fresh for longer than `max`.
        now.duration_since(self.checked_at(sweep)).unsigned_abs() > max
    }

    /// Time at which the registry last confirmed the source's digest, or the variant of a source that can't move.
    pub fn checked_at(&self, sweep: &Confirmations) -> Timestamp {
        sweep.get(self.confirmation).map_or(self.checked_at, |swept| swept.max(self.checked_at))
    }

    /// Registry of the variant, if it isn't in the source's repository.
    pub fn registry(&self) -> Option<&str> {
        Some(self.target.as_deref()?.split_once('/')?.0)
    }

    /// Returns whether an image of this variant was converted for `platform`.
    pub fn converts(&self, platform: &Platform) -> bool {
        self.platforms.iter().any(|converted| platform.accepts(converted))
    }

    /// Converted platforms.
    pub fn platforms(&self) -> &[Platform] {
        &self.platforms
    }

    /// Returns the reference that replaces `written`, the source as the pod's author wrote it.
    ///
    /// The author's spelling of the name is kept: policies of other admission webhooks may compare it.
    pub fn reference_for(&self, written: &str) -> String {
        let name = self.target.as_deref().unwrap_or_else(|| reference::written_name(written));
        format!("{name}{}", self.pin)
    }
}

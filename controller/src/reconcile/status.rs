//! Phase *status*: the changes of a record's status. Pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use zstart_convert::{NamedVariant, PlatformReport, VariantImage};
use zstart_core::record::{
    CONVERTED, HEALTHY, ImageConversionStatus, PlatformVariant, READY, RESOLVED, RecordReason,
    ResolvedSource, Summary, Variant, condition, set_condition,
};
use zstart_core::{Digest, Reference, units};

use super::error::ReconcileError;

/// A variant that the registry has, and its origin.
#[derive(Clone, Debug)]
pub(super) struct Produced {
    pub(super) variant: NamedVariant,
    pub(super) origin: Origin,
}

/// A verified variant of a source.
#[derive(Clone, Debug)]
pub(super) struct VerifiedVariant {
    /// `repository:tag@digest`.
    pub(super) reference: Reference,
    /// Digest of the source.
    pub(super) source: Digest,
    pub(super) image: VariantImage,
    pub(super) origin: Origin,
}

/// Origin of a variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// This reconciliation converted the source.
    Converted {
        /// Duration of the conversion.
        took: Duration,
    },
    /// The registry had the variant.
    Existing,
}

/// Records the digest of the source. A variant of another digest is removed.
pub(super) fn set_resolved(status: &mut ImageConversionStatus, source: ResolvedSource, now: Timestamp) {
    let digest = &source.digest;
    let message = format!("the source resolves to {digest}");
    set_condition(status, RESOLVED, true, RecordReason::Resolved, &message, now);
    if let Some(old) = status.variant.take_if(|variant| &variant.source_digest != digest) {
        remove_variant(status);
        let message = format!("the source moved from {} to {digest}", old.source_digest);
        set_condition(status, CONVERTED, false, RecordReason::SourceMoved, &message, now);
        set_condition(status, READY, false, RecordReason::SourceMoved, &message, now);
    }
    status.source = Some(source);
}

/// Records a conversion that waits for a permit, as `waiting` others do.
pub(super) fn set_pending(
    status: &mut ImageConversionStatus,
    digest: &Digest,
    waiting: usize,
    now: Timestamp,
) {
    let others = match waiting {
        0 => String::new(),
        1 => "; 1 conversion waited already".to_owned(),
        count => format!("; {count} conversions waited already"),
    };
    set_unconverted(status, RecordReason::Pending, &format!("waiting to convert {digest}{others}"), now);
}

/// Records the start of a conversion.
pub(super) fn set_converting(status: &mut ImageConversionStatus, digest: &Digest, now: Timestamp) {
    set_unconverted(status, RecordReason::Converting, &format!("converting {digest}"), now);
}

pub(super) fn set_unconverted(
    status: &mut ImageConversionStatus,
    reason: RecordReason,
    message: &str,
    now: Timestamp,
) {
    set_condition(status, CONVERTED, false, reason, message, now);
    // A variant that lacks a platform stays ready for the others.
    if !is_ready(status) {
        set_condition(status, READY, false, reason, message, now);
    }
}

/// Removes a variant that can't be pulled any more.
pub(super) fn remove_variant(status: &mut ImageConversionStatus) {
    status.variant = None;
    status.summary = None;
    status.conditions.retain(|condition| condition.type_ != HEALTHY);
}

/// Records that no pod has failed to pull the variant.
fn set_healthy(status: &mut ImageConversionStatus, now: Timestamp) {
    if condition(status, HEALTHY).is_none() {
        let message = "no pod has failed to pull the variant";
        set_condition(status, HEALTHY, true, RecordReason::NoFailedPull, message, now);
    }
}

/// Returns whether the webhook may use a variant.
pub(crate) fn is_ready(status: &ImageConversionStatus) -> bool {
    status.variant.is_some() && condition(status, READY).is_some_and(|ready| ready.status == "True")
}

/// Records a verified variant.
pub(super) fn set_ready(status: &mut ImageConversionStatus, variant: &VerifiedVariant, now: Timestamp) {
    let VerifiedVariant { reference, source, image, origin } = variant;
    let (took, reason) = match origin {
        Origin::Converted { took } => (Some(*took), RecordReason::Converted),
        Origin::Existing => (recorded_duration(status, reference), recorded_reason(status, reference)),
    };
    let (source_bytes, variant_bytes) = (image.source_bytes(), image.variant_bytes());
    status.variant = Some(Variant {
        source_digest: source.clone(),
        reference: reference.clone(),
        settings: image.settings.clone(),
        platforms: platforms(image),
        verified_at: Time(now),
        duration_milliseconds: took.map_or(0, |took| i64::try_from(took.as_millis()).unwrap_or(i64::MAX)),
    });
    status.summary = Some(Summary {
        source_size: units::size(source_bytes),
        variant_size: units::size(variant_bytes),
        saved: units::saving(source_bytes, variant_bytes),
        took: took.map(units::duration).unwrap_or_default(),
    });
    // An existing variant isn't unpacked again: its config equals the source's, and nodes compare the
    // layers with that config.
    let verified = match reason {
        RecordReason::Reused => "the variant has the source's config",
        _ => "every layer equals its diff_id",
    };
    set_converted(status, reason, reference, now);
    let message = format!("{verified}; new pods start from the variant");
    set_condition(status, READY, true, RecordReason::Verified, &message, now);
    set_healthy(status, now);
}

/// Ends the report of a platform that couldn't be added, because the variant suffices again.
pub(super) fn set_unchanged(status: &mut ImageConversionStatus, now: Timestamp) {
    let Some(reference) = status.variant.as_ref().map(|variant| variant.reference.clone()) else { return };
    if condition(status, CONVERTED).is_none_or(|converted| converted.status != "True") {
        set_converted(status, recorded_reason(status, &reference), &reference, now);
    }
    // Earlier versions wrote no such condition.
    if is_ready(status) {
        set_healthy(status, now);
    }
}

fn set_converted(
    status: &mut ImageConversionStatus,
    reason: RecordReason,
    variant: &Reference,
    now: Timestamp,
) {
    let message = match reason {
        RecordReason::Reused => format!("the registry already had {variant}"),
        _ => format!("made {variant}"),
    };
    set_condition(status, CONVERTED, true, reason, &message, now);
}

/// Records a source without gzip or plain layers.
pub(super) fn set_already_zstd(status: &mut ImageConversionStatus, now: Timestamp) {
    remove_variant(status);
    let message = "every layer is zstd already; pods run the image unchanged";
    set_condition(status, CONVERTED, false, RecordReason::AlreadyZstd, message, now);
    set_condition(status, READY, false, RecordReason::AlreadyZstd, message, now);
}

/// Records an error.
pub(super) fn set_failed(status: &mut ImageConversionStatus, error: &ReconcileError, now: Timestamp) {
    let (reason, message) = (error.reason(), error.record_message());
    let type_ = match error.cause() {
        ReconcileError::Record(_) | ReconcileError::Resolve(_) | ReconcileError::LookTimeout { .. } => {
            RESOLVED
        }
        ReconcileError::Conversion(_)
        | ReconcileError::AddPlatforms { .. }
        | ReconcileError::Variant(_)
        | ReconcileError::NoAccess { .. }
        | ReconcileError::PushDenied { .. }
        | ReconcileError::Credentials(_)
        | ReconcileError::Status(_) => CONVERTED,
    };
    if is_ready(status) && error.keeps_variant_ready() {
        // The variant goes on serving. `Resolved` reports a failed lookup of the source, and `Converted` a
        // platform that couldn't be added; the event reports the rest.
        match error.cause() {
            ReconcileError::Resolve(_)
            | ReconcileError::LookTimeout { .. }
            | ReconcileError::Conversion(_)
            | ReconcileError::AddPlatforms { .. }
            | ReconcileError::PushDenied { .. } => {
                set_condition(status, type_, false, reason, &message, now);
            }
            ReconcileError::Record(_)
            | ReconcileError::Variant(_)
            | ReconcileError::NoAccess { .. }
            | ReconcileError::Credentials(_)
            | ReconcileError::Status(_) => {}
        }
        return;
    }
    remove_variant(status);
    set_condition(status, type_, false, reason, &message, now);
    set_condition(status, READY, false, reason, &message, now);
}

fn platforms(image: &VariantImage) -> Vec<PlatformVariant> {
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let entry = |report: &PlatformReport| PlatformVariant {
        platform: report.platform.clone(),
        source_bytes: bytes(report.source_bytes),
        variant_bytes: bytes(report.variant_bytes),
        layers: count(report.layers),
        converted_layers: count(report.converted_layers),
    };
    image.platforms.iter().map(entry).collect()
}

/// Recorded duration of the conversion that made this variant. A restarted controller finds its own
/// variants.
fn recorded_duration(status: &ImageConversionStatus, reference: &Reference) -> Option<Duration> {
    let variant = status.variant.as_ref().filter(|variant| &variant.reference == reference)?;
    u64::try_from(variant.duration_milliseconds).ok().filter(|took| *took > 0).map(Duration::from_millis)
}

fn recorded_reason(status: &ImageConversionStatus, reference: &Reference) -> RecordReason {
    match recorded_duration(status, reference) {
        Some(_) => RecordReason::Converted,
        None => RecordReason::Reused,
    }
}

#[cfg(test)]
mod tests;

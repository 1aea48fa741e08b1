//! Conditions of a record: which there are, and the closed list of their reasons.

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::ImageConversionStatus;

/// Condition type: the registry said what the source reference means now.
pub const RESOLVED: &str = "Resolved";
/// Condition type: a variant of that digest stands in the registry.
pub const CONVERTED: &str = "Converted";
/// Condition type: the variant was verified and pods are pointed at it.
pub const READY: &str = "Ready";

/// Why a condition has its status. Users and alerts match on these: they are never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordReason {
    /// Nothing has been tried yet.
    Pending,
    /// The source reference was looked up.
    Resolved,
    /// The work is going on.
    Converting,
    /// A variant was made.
    Converted,
    /// A variant that was already in the registry serves.
    Reused,
    /// The variant was read back and is what it should be.
    Verified,
    /// The source is zstd throughout: pods run it as it is.
    AlreadyZstd,
    /// zstart leaves this image alone; the message says why.
    NotConvertible,
    /// The registry doesn't have the image.
    SourceNotFound,
    /// The credentials may not pull.
    PullDenied,
    /// The credentials may not push the variant.
    PushDenied,
    /// The registry didn't answer, or with an error of its own. It is tried again.
    RegistryUnavailable,
    /// The registry asked to slow down. It is tried again when it said.
    RateLimited,
    /// Bytes were not what their digest or `diff_id` says. Never tagged, never used.
    ContentMismatch,
    /// The tag moved while it was being converted. The new digest is converted next.
    SourceMoved,
    /// Something stands under the variant's tag that zstart didn't make of this source.
    VariantConflict,
    /// Anything else; the message says what.
    Failed,
}

impl RecordReason {
    /// The CamelCase word that stands in the condition.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Resolved => "Resolved",
            Self::Converting => "Converting",
            Self::Converted => "Converted",
            Self::Reused => "Reused",
            Self::Verified => "Verified",
            Self::AlreadyZstd => "AlreadyZstd",
            Self::NotConvertible => "NotConvertible",
            Self::SourceNotFound => "SourceNotFound",
            Self::PullDenied => "PullDenied",
            Self::PushDenied => "PushDenied",
            Self::RegistryUnavailable => "RegistryUnavailable",
            Self::RateLimited => "RateLimited",
            Self::ContentMismatch => "ContentMismatch",
            Self::SourceMoved => "SourceMoved",
            Self::VariantConflict => "VariantConflict",
            Self::Failed => "Failed",
        }
    }
}

impl fmt::Display for RecordReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The condition of that type, if the status has it.
pub fn condition<'a>(status: &'a ImageConversionStatus, type_: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == type_)
}

/// Sets a condition. `lastTransitionTime` moves only where the status changes, as the Kubernetes
/// API conventions ask.
pub fn set_condition(
    status: &mut ImageConversionStatus,
    type_: &str,
    met: bool,
    reason: RecordReason,
    message: &str,
    now: Timestamp,
) {
    let new_status = if met { "True" } else { "False" };
    let since = condition(status, type_)
        .filter(|condition| condition.status == new_status)
        .map_or(Time(now), |condition| condition.last_transition_time.clone());
    let next = Condition {
        last_transition_time: since,
        message: message.to_owned(),
        observed_generation: status.observed_generation,
        reason: reason.as_str().to_owned(),
        status: new_status.to_owned(),
        type_: type_.to_owned(),
    };
    match status.conditions.iter_mut().find(|condition| condition.type_ == type_) {
        Some(condition) => *condition = next,
        None => status.conditions.push(next),
    }
}

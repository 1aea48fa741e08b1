//! Conditions of a record, and the closed list of their reasons.

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use strum::{IntoStaticStr, VariantArray};

use super::ImageConversionStatus;

/// Condition type: the registry resolved the source reference.
pub const RESOLVED: &str = "Resolved";
/// Condition type: the registry holds a variant of the resolved digest.
pub const CONVERTED: &str = "Converted";
/// Condition type: the variant was verified, and pods are rewritten to the variant.
pub const READY: &str = "Ready";
/// Condition type: nodes can pull the variant. A variant is healthy until a pod couldn't pull it; a record without a
/// variant has no such condition. From the first failure on, the condition belongs to a field manager of its own
/// ([`keys::HEALER`](crate::keys::HEALER)).
pub const HEALTHY: &str = "Healthy";

/// Reason for a condition's status. Users and alerts match on these words, so the words are never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
pub enum RecordReason {
    /// No attempt has been made yet.
    Pending,
    /// The source reference was resolved.
    Resolved,
    /// The conversion is running.
    Converting,
    /// A variant was made.
    Converted,
    /// A variant that was already in the registry is used.
    Reused,
    /// The variant was read back and proved correct.
    Verified,
    /// Every layer of the source is zstd already: pods run the source itself.
    AlreadyZstd,
    /// zstart leaves this image alone; the message gives the cause.
    NotConvertible,
    /// The registry doesn't have the image.
    SourceNotFound,
    /// The credentials permit no pull.
    PullDenied,
    /// The credentials permit no push of the variant.
    PushDenied,
    /// The registry didn't answer, or answered with a server error. The controller retries.
    RegistryUnavailable,
    /// The registry asked to slow down. The controller retries at the time that the registry named.
    RateLimited,
    /// Bytes didn't match their digest or `diff_id`. Such bytes are never tagged and never used.
    ContentMismatch,
    /// The pushed variant couldn't be read back as it was pushed. The source is sound.
    NotVerified,
    /// The tag moved during the conversion. The new digest is converted next.
    SourceMoved,
    /// The variant's tag names an image that zstart didn't make from this source.
    VariantConflict,
    /// No pod has failed to pull the variant.
    NoFailedPull,
    /// A pod couldn't pull the variant. The variant is verified again.
    PullFailed,
    /// The variant is whole for the controller, and nodes still can't pull it. It isn't used for an hour.
    PullsKeepFailing,
    /// Any other failure; the message gives the cause.
    Failed,
}

impl RecordReason {
    /// Every reason.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// CamelCase word in the condition.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Meaning, as a part of a sentence in Markdown. `docs/troubleshooting.md` has the meanings and actions.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Pending => "the source waits for its first look, or for a conversion",
            Self::Resolved => "the registry resolved the source to a digest",
            Self::Converting => "the conversion is in progress",
            Self::Converted => "zstart made the variant",
            Self::Reused => "the registry already had a variant of the source",
            Self::Verified => "the variant was read back and is correct",
            Self::AlreadyZstd => "every layer is zstd already; pods run the source",
            Self::NotConvertible => "zstart leaves this image alone",
            Self::SourceNotFound => "the registry doesn't have the image",
            Self::PullDenied => "no available credentials may pull the image",
            Self::PushDenied => "the credentials may pull the image, but not push the variant",
            Self::RegistryUnavailable => {
                "the registry didn't answer, answered with a server error, or its certificate isn't acceptable"
            }
            Self::RateLimited => {
                "the registry asked for a slower rate, or zstart leaves the rest of a pull allowance to nodes"
            }
            Self::ContentMismatch => "bytes of a layer don't match its digest or the config's `diff_ids`",
            Self::NotVerified => "the pushed variant couldn't be read back as it was pushed",
            Self::SourceMoved => "the tag moved during the conversion",
            Self::VariantConflict => {
                "the variant's tag names an image that zstart didn't make, or the registry's rules refuse the tag"
            }
            Self::NoFailedPull => "no pod has failed to pull the variant",
            Self::PullFailed => "a pod couldn't pull the variant, which is verified again",
            Self::PullsKeepFailing => {
                "the variant is whole for the controller, and nodes still can't pull it"
            }
            Self::Failed => "any other error",
        }
    }
}

impl fmt::Display for RecordReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Returns the condition of type `type_`, if the status has one.
pub fn condition<'a>(status: &'a ImageConversionStatus, type_: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == type_)
}

/// Sets a condition. `lastTransitionTime` changes only along with the status, as the Kubernetes API
/// conventions require.
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

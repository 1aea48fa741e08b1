//! The result of a conversion in a Job: JSON in the container's termination message.
//!
//! The kubelet keeps 4,096 bytes of a message (`pkg/kubelet/container/runtime.go`,
//! `MaxContainerTerminationMessageLength`); Tekton's results have the same limit. The message is a claim: the leader
//! proves a variant against the registry.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use zstart_convert::ErrorClass;
use zstart_core::{Digest, Tag};

/// Longest message that the kubelet keeps, in bytes.
pub(crate) const MAX_BYTES: usize = 4096;
/// Version of the form. A reader refuses others: a leader may meet the Job of a newer version after a rollback.
const VERSION: u32 = 1;

/// Result of a conversion in a Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JobResult {
    /// The variant was pushed.
    Converted(Claim),
    /// The conversion failed.
    Failed(Failed),
}

/// A variant that a Job says it pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) tag: Tag,
    pub(crate) digest: Digest,
    /// Layers that an earlier conversion had made.
    pub(crate) layers_reused: usize,
    /// Layers that were encoded because their transcoding failed.
    pub(crate) transcoder_faults: usize,
    pub(crate) took: Duration,
}

/// The error of a conversion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) class: ErrorClass,
    /// The content of the source is the cause: another attempt for the same digest ends the same way.
    pub(crate) is_caused_by_content: bool,
    pub(crate) message: String,
}

/// A termination message that isn't a result.
#[derive(Debug, Error)]
pub(crate) enum MessageError {
    /// Another form.
    #[error("the Job's result has version {found}, and this controller reads version {VERSION}")]
    Version {
        /// Version of the message.
        found: u32,
    },
    /// No JSON of the known form.
    #[error("failed to read the Job's result")]
    Syntax(#[source] serde_json::Error),
    /// Another member count, or an invalid tag.
    #[error("failed to read the Job's result: {0}")]
    Content(&'static str),
}

#[derive(Serialize, Deserialize)]
struct Message {
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    converted: Option<ConvertedMember>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<FailedMember>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConvertedMember {
    tag: String,
    digest: Digest,
    layers_reused: usize,
    #[serde(default)]
    transcoder_faults: usize,
    milliseconds: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FailedMember {
    class: Class,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u64>,
    is_caused_by_content: bool,
    message: String,
}

/// [`ErrorClass`] in a message.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum Class {
    NotFound,
    PullDenied,
    PushDenied,
    Unavailable,
    RateLimited,
    ContentMismatch,
    NotVerified,
    SourceMoved,
    VariantConflict,
    Refused,
    Other,
}

impl JobResult {
    /// The message, within [`MAX_BYTES`]: a long error text is cut.
    pub(crate) fn to_message(&self) -> String {
        let message = match self {
            Self::Converted(Claim { tag, digest, layers_reused, transcoder_faults, took }) => Message {
                version: VERSION,
                converted: Some(ConvertedMember {
                    tag: tag.to_string(),
                    digest: digest.clone(),
                    layers_reused: *layers_reused,
                    transcoder_faults: *transcoder_faults,
                    milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                }),
                failed: None,
            },
            Self::Failed(failed) => {
                Message { version: VERSION, converted: None, failed: Some(failed.into()) }
            }
        };
        let text = json(&message);
        match self {
            Self::Failed(failed) if text.len() > MAX_BYTES => {
                // Escapes lengthen some texts, so the cut is proportional, and repeated if it isn't enough.
                let length = failed.message.len();
                let keep = (length * MAX_BYTES / text.len()).min(length.saturating_sub(2 * '…'.len_utf8()));
                let mut message = failed.message[..failed.message.floor_char_boundary(keep)].to_owned();
                message.push('…');
                Self::Failed(Failed { message, ..failed.clone() }).to_message()
            }
            Self::Failed(_) | Self::Converted(_) => text,
        }
    }

    /// Reads a message.
    pub(crate) fn parse(text: &str) -> Result<Self, MessageError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_str(text).map_err(MessageError::Syntax)?;
        if version != VERSION {
            return Err(MessageError::Version { found: version });
        }
        let Message { version: _, converted, failed } =
            serde_json::from_str(text).map_err(MessageError::Syntax)?;
        match (converted, failed) {
            (Some(converted), None) => {
                let ConvertedMember { tag, digest, layers_reused, transcoder_faults, milliseconds } =
                    converted;
                let tag = tag.parse().map_err(|_| MessageError::Content("its tag is invalid"))?;
                let took = Duration::from_millis(milliseconds);
                Ok(Self::Converted(Claim { tag, digest, layers_reused, transcoder_faults, took }))
            }
            (None, Some(failed)) => Ok(Self::Failed(failed.into())),
            (None, None) | (Some(_), Some(_)) => {
                Err(MessageError::Content("it must have either \"converted\" or \"failed\""))
            }
        }
    }
}

fn json(message: &Message) -> String {
    serde_json::to_string(message).unwrap_or_else(|_| unreachable!("all members have a JSON form"))
}

impl From<&Failed> for FailedMember {
    fn from(failed: &Failed) -> Self {
        let Failed { class, is_caused_by_content, message } = failed;
        let (class, retry_after) = match class {
            ErrorClass::NotFound => (Class::NotFound, None),
            ErrorClass::PullDenied => (Class::PullDenied, None),
            ErrorClass::PushDenied => (Class::PushDenied, None),
            ErrorClass::Unavailable => (Class::Unavailable, None),
            ErrorClass::RateLimited { retry_after } => (Class::RateLimited, *retry_after),
            ErrorClass::ContentMismatch => (Class::ContentMismatch, None),
            ErrorClass::NotVerified => (Class::NotVerified, None),
            ErrorClass::SourceMoved => (Class::SourceMoved, None),
            ErrorClass::VariantConflict => (Class::VariantConflict, None),
            ErrorClass::Refused => (Class::Refused, None),
            ErrorClass::Other => (Class::Other, None),
        };
        Self {
            class,
            retry_after_seconds: retry_after.map(|delay| delay.as_secs()),
            is_caused_by_content: *is_caused_by_content,
            message: message.clone(),
        }
    }
}

impl From<FailedMember> for Failed {
    fn from(member: FailedMember) -> Self {
        let FailedMember { class, retry_after_seconds, is_caused_by_content, message } = member;
        let class = match class {
            Class::NotFound => ErrorClass::NotFound,
            Class::PullDenied => ErrorClass::PullDenied,
            Class::PushDenied => ErrorClass::PushDenied,
            Class::Unavailable => ErrorClass::Unavailable,
            Class::RateLimited => {
                ErrorClass::RateLimited { retry_after: retry_after_seconds.map(Duration::from_secs) }
            }
            Class::ContentMismatch => ErrorClass::ContentMismatch,
            Class::NotVerified => ErrorClass::NotVerified,
            Class::SourceMoved => ErrorClass::SourceMoved,
            Class::VariantConflict => ErrorClass::VariantConflict,
            Class::Refused => ErrorClass::Refused,
            Class::Other => ErrorClass::Other,
        };
        Self { class, is_caused_by_content, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(class: ErrorClass, message: &str) -> JobResult {
        JobResult::Failed(Failed { class, is_caused_by_content: false, message: message.to_owned() })
    }

    #[test]
    fn every_result_survives_its_message() {
        let converted = JobResult::Converted(Claim {
            tag: "v1-zstd-0123456789ab-01234567".parse().unwrap(),
            digest: Digest::sha256_of(b"variant"),
            layers_reused: 3,
            transcoder_faults: 1,
            took: Duration::from_millis(1234),
        });
        let retry_after = Some(Duration::from_secs(77));
        let classes = [
            ErrorClass::NotFound,
            ErrorClass::PullDenied,
            ErrorClass::PushDenied,
            ErrorClass::Unavailable,
            ErrorClass::RateLimited { retry_after },
            ErrorClass::RateLimited { retry_after: None },
            ErrorClass::ContentMismatch,
            ErrorClass::NotVerified,
            ErrorClass::SourceMoved,
            ErrorClass::VariantConflict,
            ErrorClass::Refused,
            ErrorClass::Other,
        ];
        let content = JobResult::Failed(Failed {
            class: ErrorClass::ContentMismatch,
            is_caused_by_content: true,
            message: "layer".to_owned(),
        });
        let failures = classes.into_iter().map(|class| failed(class, "a \"quoted\"\ntext"));
        for result in failures.chain([converted, content]) {
            assert_eq!(JobResult::parse(&result.to_message()).unwrap(), result);
        }
    }

    #[test]
    fn form_of_the_message_is_stable() {
        let text = failed(ErrorClass::RateLimited { retry_after: Some(Duration::from_secs(9)) }, "wait");
        assert_eq!(
            text.to_message(),
            r#"{"version":1,"failed":{"class":"RateLimited","retryAfterSeconds":9,"isCausedByContent":false,"message":"wait"}}"#
        );
    }

    #[test]
    fn long_error_is_cut_to_the_kubelets_limit() {
        for text in ["ä".repeat(MAX_BYTES), "\"\n\u{1}".repeat(MAX_BYTES), "x".repeat(1 << 20)] {
            let message = failed(ErrorClass::Other, &text).to_message();
            assert!(message.len() <= MAX_BYTES, "{}", message.len());
            assert!(message.len() > MAX_BYTES / 2, "{}", message.len());
            let JobResult::Failed(cut) = JobResult::parse(&message).unwrap() else { panic!("{message}") };
            let kept = cut.message.strip_suffix('…').unwrap();
            assert!(text.starts_with(kept) && !kept.is_empty());
        }
    }

    #[test]
    fn foreign_message_is_refused() {
        for (text, part) in [
            ("", "failed to read"),
            ("Killed", "failed to read"),
            (r#"{"version":2,"pushed":{}}"#, "version 2"),
            (r#"{"version":1}"#, "either"),
            (
                r#"{"version":1,"converted":{"tag":"a b","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","layersReused":0,"milliseconds":0}}"#,
                "tag",
            ),
        ] {
            let error = zstart_core::chain(&JobResult::parse(text).unwrap_err());
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}

//! Errors of conversions in Jobs.

use std::fmt;
use std::time::Duration;

use thiserror::Error;
use zstart_convert::ErrorClass;
use zstart_core::units;
use zstart_registry::ErrorKind;
use zstart_registry::auth::ProviderError;

use super::job_result::{Failed, MessageError};

/// A Job that led to no variant.
#[derive(Debug, Error)]
#[error("{job}: {problem}")]
pub(crate) struct JobError {
    /// The Job.
    pub(crate) job: JobRef,
    /// The error. Its text is complete, so it is no source.
    pub(crate) problem: JobProblem,
}

/// Namespace and name of a Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JobRef {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// Error of a conversion in a Job.
#[derive(Debug, Error)]
pub(crate) enum JobProblem {
    /// The API server refused a request.
    #[error("failed to {operation}: {}", zstart_core::chain(.source))]
    Api {
        /// The request, e.g. "create the Job".
        operation: &'static str,
        /// Answer of the API server.
        source: Box<kube::Error>,
    },
    /// The login for the Job can't be issued.
    #[error("failed to issue a login for the Job: {0}")]
    Login(ProviderError),
    /// Another program owns a Job of this name.
    #[error("a Job of this name exists that the controller didn't create; delete it")]
    Foreign,
    /// A former Job of this name doesn't end.
    #[error(
        "a former Job of this name is deleted, and still exists after {}; look for its finalizers",
        units::duration(*limit)
    )]
    Undeleted {
        /// Longest time that the controller waits.
        limit: Duration,
    },
    /// The Job was deleted before it ended.
    #[error("the Job was deleted before it ended")]
    Deleted,
    /// The Job reported an error of the conversion.
    #[error("{}", .0.message)]
    Reported(Failed),
    /// The Job reported something else.
    #[error("{}", zstart_core::chain(.0))]
    Message(MessageError),
    /// The Job ended without a report.
    #[error("{0}")]
    Died(Death),
}

/// Cause of a Job's end without a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// The kernel killed the process at its memory limit.
    OutOfMemory,
    /// The Job's deadline passed.
    Deadline {
        /// Deadline of the Job.
        limit: Duration,
        /// Last reason for which the Job waited.
        waiting: Option<String>,
    },
    /// Kubernetes ended the pod: an eviction, a node that was lost, an admission on the node that failed.
    Pod {
        /// Reason of the pod's phase.
        reason: String,
        /// Message of the pod's phase.
        message: String,
    },
    /// The process ended without a result.
    Exit {
        /// Its exit code.
        code: i32,
        /// Reason of the kubelet.
        reason: String,
    },
    /// The Job failed without a pod.
    Failed {
        /// Reason of the Job's condition.
        reason: String,
        /// Message of the Job's condition.
        message: String,
    },
    /// The Job succeeded, and no pod has a result.
    NoResult,
}

impl fmt::Display for JobRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Job {}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for Death {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory => formatter.write_str(
                "the container was killed at its memory limit (OOMKilled); raise \
                 controller.jobs.resources.limits.memory, or lower controller.layersAtOnce or controller.level",
            ),
            Self::Deadline { limit, waiting } => {
                write!(
                    formatter,
                    "the Job didn't end within {}, the limit controller.conversionTimeout; layers that are done \
                     are reused by the next attempt",
                    units::duration(*limit)
                )?;
                match waiting {
                    Some(waiting) => write!(formatter, ". At last it waited: {waiting}"),
                    None => Ok(()),
                }
            }
            Self::Pod { reason, message } => {
                write!(formatter, "Kubernetes ended the pod ({})", joined(reason, message))
            }
            Self::Exit { code, reason } => {
                write!(formatter, "the container ended without a result (exit code {code}, {reason})")
            }
            Self::Failed { reason, message } => {
                write!(formatter, "the Job failed without a result ({})", joined(reason, message))
            }
            Self::NoResult => formatter.write_str(
                "the Job succeeded, and its pod with the result is gone; the next attempt looks for the variant",
            ),
        }
    }
}

/// `reason: message`, or the one that isn't empty.
pub(super) fn joined(reason: &str, message: &str) -> String {
    match (reason, message) {
        (reason, "") => reason.to_owned(),
        ("", message) => message.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

impl JobError {
    /// Class of this error.
    pub(crate) fn class(&self) -> ErrorClass {
        match &self.problem {
            JobProblem::Reported(failed) => failed.class,
            JobProblem::Login(error) => match error.kind {
                ErrorKind::Denied => ErrorClass::PullDenied,
                ErrorKind::Unavailable => ErrorClass::Unavailable,
                ErrorKind::RateLimited { retry_after } => ErrorClass::RateLimited { retry_after },
                ErrorKind::NotFound
                | ErrorKind::TagImmutable
                | ErrorKind::ContentMismatch
                | ErrorKind::Other => ErrorClass::Other,
            },
            JobProblem::Api { .. }
            | JobProblem::Foreign
            | JobProblem::Undeleted { .. }
            | JobProblem::Deleted
            | JobProblem::Message(_)
            | JobProblem::Died(_) => ErrorClass::Other,
        }
    }

    /// Returns whether the content of the source is the cause.
    pub(crate) fn is_caused_by_content(&self) -> bool {
        matches!(&self.problem, JobProblem::Reported(failed) if failed.is_caused_by_content)
    }
}

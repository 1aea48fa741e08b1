//! Settings of the executors.

use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde::Deserialize;
use thiserror::Error;

/// Name of the container that converts, in the pod template of the Jobs.
pub(crate) const CONTAINER: &str = "convert";

/// Executor of conversions, and its limit.
#[derive(Clone, Debug, PartialEq)]
pub enum ExecutorSettings {
    /// The leader converts in its own process. Default.
    Pool {
        /// Maximum number of concurrent conversions. Default: 2.
        workers: usize,
    },
    /// Each conversion is a Kubernetes Job in zstart's own namespace.
    Jobs(Box<JobSettings>),
}

/// Settings of conversions as Jobs.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSettings {
    /// Maximum number of Jobs that wait or run. Default: 20.
    pub max_jobs: usize,
    /// Kueue's `LocalQueue`, which starts the Jobs. `None`: the controller starts them.
    pub queue: Option<String>,
    /// Time for which a finished Job is kept. Default: 1 hour.
    pub ttl: Duration,
    /// Role whose tokens for Amazon ECR a Job gets, limited to the Job's repository. `None`: the Job gets the
    /// controller's own token.
    pub ecr_role: Option<String>,
    /// Template of the pods: image, placement, resources, security context. It has a container `convert`.
    pub template: PodTemplateSpec,
}

/// Error in the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ExecutorError {
    /// A number or duration of zero or less.
    #[error("{0} must be greater than zero")]
    Zero(&'static str),
    /// Jobs without a usable pod template.
    #[error("jobs.template must be a pod template with a container named {CONTAINER} that has an image")]
    Template,
}

/// The word that chooses an executor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ExecutorField {
    #[default]
    Pool,
    Jobs,
}

/// The section `jobs`, as users write it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct JobsField {
    max_jobs: usize,
    queue: String,
    ttl: SignedDuration,
    ecr_role: String,
    template: PodTemplateSpec,
}

impl Default for JobsField {
    fn default() -> Self {
        Self {
            max_jobs: 20,
            queue: String::new(),
            ttl: SignedDuration::from_hours(1),
            ecr_role: String::new(),
            template: PodTemplateSpec::default(),
        }
    }
}

impl ExecutorSettings {
    /// Checks the settings.
    pub(crate) fn new(
        executor: ExecutorField,
        workers: usize,
        jobs: JobsField,
    ) -> Result<Self, ExecutorError> {
        match executor {
            ExecutorField::Pool if workers == 0 => Err(ExecutorError::Zero("workers")),
            ExecutorField::Pool => Ok(Self::Pool { workers }),
            ExecutorField::Jobs => Ok(Self::Jobs(Box::new(jobs.checked()?))),
        }
    }

    /// Maximum number of concurrent conversions.
    pub fn max_conversions(&self) -> usize {
        match self {
            Self::Pool { workers } => *workers,
            Self::Jobs(jobs) => jobs.max_jobs,
        }
    }
}

impl JobsField {
    fn checked(self) -> Result<JobSettings, ExecutorError> {
        let Self { max_jobs, queue, ttl, ecr_role, template } = self;
        let text = |text: String| (!text.is_empty()).then_some(text);
        let ttl = Duration::try_from(ttl).unwrap_or_default();
        if max_jobs == 0 {
            return Err(ExecutorError::Zero("jobs.maxJobs"));
        }
        // Kubernetes counts seconds. A Job that is deleted at once has no result to read.
        if ttl.as_secs() == 0 {
            return Err(ExecutorError::Zero("jobs.ttl"));
        }
        let containers = template.spec.iter().flat_map(|pod| &pod.containers);
        let has_image = |name: &str, image: Option<&str>| {
            name == CONTAINER && image.is_some_and(|image| !image.is_empty())
        };
        if !containers.into_iter().any(|container| has_image(&container.name, container.image.as_deref())) {
            return Err(ExecutorError::Template);
        }
        Ok(JobSettings { max_jobs, queue: text(queue), ttl, ecr_role: text(ecr_role), template })
    }
}

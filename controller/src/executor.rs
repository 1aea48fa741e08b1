//! Executors of conversions: where the bytes of a planned conversion are read, encoded and pushed.
//!
//! - `pool`: the leader's own process.
//! - `jobs`: a Kubernetes Job for each conversion. The leader holds no layer, and proves each result against the
//!   registry.
//!
//! [`settings`] chooses between them. [`work`] is the input of a Job, `job_result` its output.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use zstart_convert::{ErrorClass, NamedVariant, Plan, Settings};
use zstart_core::{ImageConversion, Reference, VariantNames, units};
use zstart_registry::auth::Credentials;
use zstart_registry::{Store, TagListing};

pub(crate) use self::job_error::JobError;
pub(crate) use self::jobs::JobExecutor;
use crate::context::Context;
use crate::scheduler::RecordChanges;

mod job_error;
pub(crate) mod job_result;
mod job_spec;
mod jobs;
mod observed;
mod pool;
mod progress;
pub mod settings;
pub mod work;

/// Executor of conversions.
pub(crate) enum Executor {
    /// The leader's own process.
    Pool,
    /// Kubernetes Jobs.
    Jobs(Box<JobExecutor>),
}

/// A planned conversion.
#[derive(Clone, Copy)]
pub(crate) struct Conversion<'a> {
    pub(crate) record: &'a ImageConversion,
    pub(crate) source: &'a Reference,
    /// Repository of the source and of its variants.
    pub(crate) repository: &'a dyn Store,
    /// Credentials of `repository`.
    pub(crate) credentials: &'a Credentials,
    pub(crate) names: &'a VariantNames,
    pub(crate) plan: &'a Plan,
    pub(crate) settings: &'a Settings,
    /// The repository's tags, if they were read.
    pub(crate) listing: Option<&'a TagListing>,
    /// Notices of changes of the record and its consumers.
    pub(crate) changes: &'a RecordChanges,
}

/// A conversion whose variant was read back.
#[derive(Clone, Debug)]
pub(crate) struct Converted {
    pub(crate) variant: NamedVariant,
    /// Layers that were encoded because their transcoding failed.
    pub(crate) transcoder_faults: usize,
    pub(crate) took: Duration,
}

/// A conversion without a variant.
#[derive(Debug, Error)]
pub(crate) enum ConversionError {
    /// The conversion or its verification failed.
    #[error(transparent)]
    Convert(#[from] zstart_convert::Error),
    /// The conversion took too long.
    #[error(
        "failed to convert the source within {}, the limit controller.conversionTimeout; layers that are done are \
         reused by the next attempt",
        units::duration(*limit)
    )]
    Timeout {
        /// Longest time of a conversion.
        limit: Duration,
    },
    /// The Job of the conversion failed.
    #[error(transparent)]
    Job(#[from] Box<JobError>),
    /// No workload uses the source any more, or the record is gone. The conversion was stopped. It isn't recorded as a
    /// failure.
    #[error("stopped the conversion, because no workload uses the source any more")]
    Abandoned,
}

impl ConversionError {
    /// Class of this error.
    pub(crate) fn class(&self) -> ErrorClass {
        match self {
            Self::Convert(error) => error.class(),
            Self::Job(error) => error.class(),
            Self::Timeout { .. } | Self::Abandoned => ErrorClass::Other,
        }
    }

    /// Returns whether the content of the source is the cause.
    pub(crate) fn is_caused_by_content(&self) -> bool {
        match self {
            Self::Convert(error) => error.is_caused_by_content(),
            Self::Job(error) => error.is_caused_by_content(),
            Self::Timeout { .. } | Self::Abandoned => false,
        }
    }
}

impl Executor {
    /// Converts, pushes and verifies a variant. `waiting` receives the reason why the conversion doesn't run yet.
    pub(crate) async fn convert(
        &self,
        context: &Context,
        conversion: Conversion<'_>,
        waiting: &watch::Sender<Option<String>>,
    ) -> Result<Converted, ConversionError> {
        match self {
            Self::Pool => pool::convert(context, conversion).await,
            Self::Jobs(jobs) => jobs.convert(context, conversion, waiting).await,
        }
    }
}

/// Follows the Jobs of conversions, if the executor makes Jobs. Runs forever.
pub(crate) async fn follow_jobs(context: Arc<Context>) {
    if let Executor::Jobs(jobs) = &context.executor {
        jobs.follow().await;
    }
}

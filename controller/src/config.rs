//! The configuration file, parsed once into types.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use zstart_convert::{Level, LevelError, Method, TagChildren, Verification};
use zstart_core::eligibility::pod::ControllerKindError;
use zstart_core::{Glob, Platform};
use zstart_process::config_file::{self, ConfigFileError};

use self::file::File;
use crate::certificates::CertificateSettings;
use crate::credentials::PullSecretAccess;
use crate::demand::Exclusions;
use crate::executor::settings::{ExecutorError, ExecutorSettings};

mod file;
#[cfg(test)]
mod tests;

/// Longest `confirmInterval`: the webhook's bound ([`MAX_UNCONFIRMED`](zstart_core::eligibility::record_view::MAX_UNCONFIRMED))
/// without some attempts that fail.
const MAX_CONFIRM_INTERVAL: Duration = Duration::from_hours(20);

/// Configuration of the controller.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address of the plain HTTP server with `/livez`, `/readyz` and `/metrics`. Default: 0.0.0.0:8080.
    pub health_listen: SocketAddr,
    /// Name of the Lease by which the replicas elect a leader. Default: `zstart-controller`.
    pub lease: String,
    /// zstd level of layers that are encoded. Default: 3.
    pub level: Level,
    /// Method for gzip layers. Default: auto.
    pub method: Method,
    /// Part of transcoded layers that is decoded again. Default: samples.
    pub verify: Verification,
    /// Platforms to convert. Default: those of the nodes.
    pub platforms: Platforms,
    /// Time for which a platform of the nodes counts after its last node was seen. Default: 7 days.
    pub platform_retention: Duration,
    /// Name of the `ConfigMap` that remembers these platforms, in zstart's own namespace. Default:
    /// `zstart-controller-platforms`.
    pub platforms_config_map: String,
    /// Executor of conversions. Default: the leader's own process.
    pub executor: ExecutorSettings,
    /// Maximum number of concurrent layers of one image. Default: 2.
    pub layers_at_once: NonZero<usize>,
    /// Tags for the converted manifests that an index lists. Default: auto.
    pub tag_children: TagChildren,
    /// Longest time of a conversion, from a permit to the pushed variant. Default: 1 hour.
    pub conversion_timeout: Duration,
    /// Interval between lookups of a tag. Default: 5 minutes.
    pub recheck_interval: Duration,
    /// Interval between lookups of a tag that the kubelet pulls at each start (`imagePullPolicy: Always`).
    /// Default: 1 minute; never longer than `recheck_interval`.
    pub recheck_interval_always: Duration,
    /// Interval between confirmations that the registry still has the variant of a source that can't move. Default:
    /// 8 hours; at most 20, because the webhook uses no variant that wasn't confirmed for a day.
    pub confirm_interval: Duration,
    /// The pulls of sources and variants are measured by the kubelets' events. Default: true.
    pub measure_pulls: bool,
    /// Time for which a record is kept that no workload uses. Its variant stays. Default: 7 days.
    pub keep_records_for: Duration,
    /// Tags that never move, as patterns of `registry/repository:tag`.
    pub immutable_tags: Vec<Glob>,
    /// Registries that are reached over plain HTTP.
    pub plain_http_registries: BTreeSet<String>,
    /// Token servers outside a registry's own domain that may receive credentials.
    pub token_servers: BTreeSet<String>,
    /// The controller's own credentials, in the format of Docker's `config.json`.
    pub credentials_file: Option<PathBuf>,
    /// Amazon ECR registries that the controller accesses with its own AWS identity.
    pub ecr_registries: BTreeSet<String>,
    /// Pull secrets of workloads that the controller uses. Default: all that RBAC allows.
    pub pull_secrets: PullSecretAccess,
    /// Pods that are never rewritten. `kube-system` and zstart's own namespace are always excluded.
    pub exclusions: Exclusions,
    /// Objects of the webhook's certificates. `None`: the controller leaves the certificates alone, because
    /// cert-manager or an administrator issues them. Default: the controller rotates them.
    pub certificates: Option<CertificateSettings>,
}

/// Platforms of an image that are converted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Platforms {
    /// The platforms of the cluster's nodes, and of nodes that left within `platform_retention`.
    Nodes,
    /// Every platform.
    All,
    /// A fixed list.
    List(Vec<Platform>),
}

/// Error in the configuration file.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file can't be read or parsed.
    #[error(transparent)]
    File(#[from] ConfigFileError),
    /// zstd has no such level.
    #[error("{}: level is invalid", file.display())]
    Level {
        /// Path of the file.
        file: PathBuf,
        /// Valid range.
        source: LevelError,
    },
    /// An unknown word.
    #[error("{}: platforms is {value:?}; write nodes, all, or a list like [linux/amd64]", file.display())]
    Platforms {
        /// Path of the file.
        file: PathBuf,
        /// The invalid value.
        value: String,
    },
    /// An entry that is no kind.
    #[error("{}: allowedControllers has an invalid entry", file.display())]
    Controller {
        /// Path of the file.
        file: PathBuf,
        /// The entry.
        source: ControllerKindError,
    },
    /// A host that is no Amazon ECR registry.
    #[error(
        "{}: ecrRegistries has {value:?}, which is no Amazon ECR registry; write a host like \
         123456789012.dkr.ecr.eu-west-1.amazonaws.com, or public.ecr.aws",
        file.display()
    )]
    EcrRegistry {
        /// Path of the file.
        file: PathBuf,
        /// The invalid value.
        value: String,
    },
    /// An interval that is too long for the webhook.
    #[error(
        "{}: confirmInterval must be at most 20h, because the webhook uses no variant that wasn't confirmed for a day",
        file.display()
    )]
    ConfirmInterval {
        /// Path of the file.
        file: PathBuf,
    },
    /// Unusable settings of the executor.
    #[error("{}: {source}", file.display())]
    Executor {
        /// Path of the file.
        file: PathBuf,
        /// Cause. Its text is part of the message.
        source: ExecutorError,
    },
    /// A Lease without a name.
    #[error("{}: lease is empty; write the name of the Lease, or leave the field out", file.display())]
    Lease {
        /// Path of the file.
        file: PathBuf,
    },
    /// A number or duration of zero or less.
    #[error("{}: {field} must be greater than zero", file.display())]
    Zero {
        /// Path of the file.
        file: PathBuf,
        /// Name of the field.
        field: &'static str,
    },
}

impl Config {
    /// Reads and checks the file.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        Self::parse(file, &config_file::read(file)?)
    }

    /// Parses and checks `text`. Errors name `file`.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        config_file::parse::<File>(file, text)?.check(file)
    }
}

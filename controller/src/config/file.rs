//! The configuration file as users write it, and its checks.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use zstart_convert::{Level, Method, Settings, TagChildren, Verification};
use zstart_core::{Glob, Platform, keys};
use zstart_registry::ecr::EcrRegistry;

use super::{Config, ConfigError, MAX_CONFIRM_INTERVAL, Platforms};
use crate::certificates::CertificateSettings;
use crate::credentials::PullSecretAccess;
use crate::demand::Exclusions;
use crate::executor::settings::{ExecutorField, ExecutorSettings, JobsField};

/// The file as users write it. Every field has a default, so an empty file is valid.
#[expect(clippy::struct_field_names, reason = "the fields are named as users write them")]
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct File {
    health_listen: SocketAddr,
    lease: String,
    level: i32,
    method: Method,
    verify: Verification,
    platforms: PlatformsField,
    platform_retention: SignedDuration,
    platforms_config_map: String,
    executor: ExecutorField,
    workers: usize,
    jobs: JobsField,
    layers_at_once: usize,
    tag_children: TagChildren,
    conversion_timeout: SignedDuration,
    recheck_interval: SignedDuration,
    recheck_interval_always: SignedDuration,
    confirm_interval: SignedDuration,
    measure_pulls: bool,
    keep_records_for: SignedDuration,
    immutable_tags: Vec<Glob>,
    plain_http_registries: BTreeSet<String>,
    token_servers: BTreeSet<String>,
    credentials_file: PathBuf,
    ecr_registries: BTreeSet<String>,
    use_pull_secrets: bool,
    pull_secret_names: BTreeSet<String>,
    pull_secret_namespaces: BTreeSet<String>,
    excluded_namespaces: BTreeSet<String>,
    allowed_controllers: BTreeSet<String>,
    rotate_certificates: bool,
    webhook: CertificateSettings,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum PlatformsField {
    List(Vec<Platform>),
    Word(String),
}

impl Default for File {
    fn default() -> Self {
        Self {
            health_listen: (Ipv4Addr::UNSPECIFIED, 8080).into(),
            lease: keys::CONTROLLER.to_owned(),
            level: Level::default().get(),
            method: Method::default(),
            verify: Verification::default(),
            platforms: PlatformsField::Word("nodes".to_owned()),
            platform_retention: SignedDuration::from_hours(7 * 24),
            platforms_config_map: "zstart-controller-platforms".to_owned(),
            executor: ExecutorField::default(),
            workers: 2,
            jobs: JobsField::default(),
            layers_at_once: Settings::LAYERS_AT_ONCE.get(),
            tag_children: TagChildren::default(),
            conversion_timeout: SignedDuration::from_hours(1),
            recheck_interval: SignedDuration::from_mins(5),
            recheck_interval_always: SignedDuration::from_mins(1),
            confirm_interval: SignedDuration::from_hours(8),
            measure_pulls: true,
            keep_records_for: SignedDuration::from_hours(7 * 24),
            immutable_tags: Vec::new(),
            plain_http_registries: BTreeSet::new(),
            token_servers: BTreeSet::new(),
            credentials_file: PathBuf::new(),
            ecr_registries: BTreeSet::new(),
            use_pull_secrets: true,
            pull_secret_names: BTreeSet::new(),
            pull_secret_namespaces: BTreeSet::new(),
            excluded_namespaces: BTreeSet::new(),
            allowed_controllers: BTreeSet::new(),
            rotate_certificates: true,
            webhook: CertificateSettings::default(),
        }
    }
}

impl File {
    /// Checks the settings. Errors name `file`.
    pub(super) fn check(self, file: &Path) -> Result<Config, ConfigError> {
        let named = || file.to_owned();
        // No `..`: the compiler reports a new field that is not handled here.
        let File {
            health_listen,
            lease,
            level,
            method,
            verify,
            platforms,
            platform_retention,
            platforms_config_map,
            executor,
            workers,
            jobs,
            layers_at_once,
            tag_children,
            conversion_timeout,
            recheck_interval,
            recheck_interval_always,
            confirm_interval,
            measure_pulls,
            keep_records_for,
            immutable_tags,
            plain_http_registries,
            token_servers,
            credentials_file,
            ecr_registries,
            use_pull_secrets,
            pull_secret_names,
            pull_secret_namespaces,
            excluded_namespaces,
            allowed_controllers,
            rotate_certificates,
            webhook,
        } = self;
        let zero = |field| ConfigError::Zero { file: named(), field };
        let platforms = match platforms {
            PlatformsField::List(platforms) => Platforms::List(platforms),
            PlatformsField::Word(word) => match word.as_str() {
                "nodes" => Platforms::Nodes,
                "all" => Platforms::All,
                _ => return Err(ConfigError::Platforms { file: named(), value: word }),
            },
        };
        let allowed_controllers = allowed_controllers.iter().map(|kind| kind.parse());
        let allowed_controllers = allowed_controllers
            .collect::<Result<_, _>>()
            .map_err(|source| ConfigError::Controller { file: named(), source })?;
        if let Some(value) = ecr_registries.iter().find(|registry| EcrRegistry::of(registry).is_none()) {
            return Err(ConfigError::EcrRegistry { file: named(), value: value.clone() });
        }
        if lease.is_empty() {
            return Err(ConfigError::Lease { file: named() });
        }
        let layers_at_once = NonZero::new(layers_at_once).ok_or(zero("layersAtOnce"))?;
        let positive = |setting: SignedDuration, field| {
            Duration::try_from(setting).ok().filter(|setting| !setting.is_zero()).ok_or(zero(field))
        };
        let platform_retention = positive(platform_retention, "platformRetention")?;
        let conversion_timeout = positive(conversion_timeout, "conversionTimeout")?;
        let recheck_interval = positive(recheck_interval, "recheckInterval")?;
        let recheck_interval_always = positive(recheck_interval_always, "recheckIntervalAlways")?;
        let keep_records_for = positive(keep_records_for, "keepRecordsFor")?;
        let confirm_interval = positive(confirm_interval, "confirmInterval")?;
        if confirm_interval > MAX_CONFIRM_INTERVAL {
            return Err(ConfigError::ConfirmInterval { file: named() });
        }
        let executor = ExecutorSettings::new(executor, workers, jobs)
            .map_err(|source| ConfigError::Executor { file: named(), source })?;
        Ok(Config {
            health_listen,
            lease,
            level: level.try_into().map_err(|source| ConfigError::Level { file: named(), source })?,
            method,
            verify,
            platforms,
            platform_retention,
            platforms_config_map,
            executor,
            layers_at_once,
            tag_children,
            conversion_timeout,
            recheck_interval,
            recheck_interval_always,
            confirm_interval,
            measure_pulls,
            keep_records_for,
            immutable_tags,
            plain_http_registries,
            token_servers,
            exclusions: Exclusions { namespaces: excluded_namespaces, allowed_controllers },
            credentials_file: Some(credentials_file).filter(|file| !file.as_os_str().is_empty()),
            ecr_registries,
            pull_secrets: PullSecretAccess {
                is_enabled: use_pull_secrets,
                names: pull_secret_names,
                namespaces: pull_secret_namespaces,
            },
            certificates: rotate_certificates.then_some(webhook),
        })
    }
}

//! The configuration file, parsed once into types.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use thiserror::Error;
use zstart_convert::{Level, LevelError, Settings, TagChildren};
use zstart_core::eligibility::pod::ControllerKindError;
use zstart_core::{Glob, Platform, keys};
use zstart_process::config_file::{self, ConfigFileError};
use zstart_registry::ecr::EcrRegistry;

use crate::certificates::CertificateSettings;
use crate::credentials::PullSecretAccess;
use crate::demand::Exclusions;
use crate::executor::settings::{ExecutorError, ExecutorField, ExecutorSettings, JobsField};

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
    /// zstd level. Default: 3.
    pub level: Level,
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

/// The file as users write it. Every field has a default, so an empty file is valid.
#[expect(clippy::struct_field_names, reason = "the fields are named as users write them")]
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct File {
    health_listen: SocketAddr,
    lease: String,
    level: i32,
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

impl Config {
    /// Reads and checks the file.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        Self::parse(file, &config_file::read(file)?)
    }

    /// Parses and checks `text`. Errors name `file`.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let named = || file.to_owned();
        // No `..`: the compiler reports a new field that is not handled here.
        let File {
            health_listen,
            lease,
            level,
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
        } = config_file::parse(file, text)?;
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
        Ok(Self {
            health_listen,
            lease,
            level: level.try_into().map_err(|source| ConfigError::Level { file: named(), source })?,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("config.yaml"), text)
    }

    #[test]
    fn empty_file_gives_the_defaults() {
        let config = parse("").unwrap();
        assert_eq!(config.level.get(), 3);
        assert_eq!(config.platforms, Platforms::Nodes);
        assert_eq!(config.tag_children, TagChildren::Auto);
        assert_eq!(config.platform_retention, Duration::from_hours(168));
        assert_eq!(config.recheck_interval, Duration::from_mins(5));
        assert_eq!(config.recheck_interval_always, Duration::from_mins(1));
        assert_eq!(config.credentials_file, None);
        assert_eq!(config.certificates, Some(CertificateSettings::default()));
    }

    #[test]
    fn certificates_of_others_have_no_settings() {
        assert_eq!(parse("rotateCertificates: false").unwrap().certificates, None);
    }

    #[test]
    fn every_field_is_read() {
        let config = parse(
            "healthListen: 127.0.0.1:1\nlease: seat\nlevel: 19\nplatforms: [linux/amd64]\n\
             platformRetention: 48h\nplatformsConfigMap: seen\nworkers: 4\nlayersAtOnce: 3\n\
             tagChildren: never\nconversionTimeout: 2h\n\
             recheckInterval: 90s\nrecheckIntervalAlways: 2s\nconfirmInterval: 3h\n\
             measurePulls: false\nkeepRecordsFor: 24h\nimmutableTags: ['r.example/*:v*']\n\
             plainHttpRegistries: ['registry.lab:5000']\ntokenServers: [login.example]\n\
             credentialsFile: /a/config.json\necrRegistries: [public.ecr.aws]\n\
             usePullSecrets: false\npullSecretNames: [pull]\npullSecretNamespaces: [shop]\n\
             excludedNamespaces: [quiet]\nallowedControllers: [CloneSet.apps.kruise.io]\n\
             rotateCertificates: true\n\
             webhook: {configuration: a, service: b, servingSecret: c, caSecret: d}\n",
        )
        .unwrap();
        // No `..`: the compiler reports a new field that is not tested here.
        let Config {
            health_listen,
            lease,
            level,
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
            credentials_file,
            ecr_registries,
            pull_secrets: PullSecretAccess { is_enabled, names: secrets, namespaces: secret_namespaces },
            exclusions: Exclusions { namespaces, allowed_controllers },
            certificates,
        } = config;
        assert_eq!(health_listen.to_string(), "127.0.0.1:1");
        assert_eq!(lease, "seat");
        assert_eq!((level.get(), layers_at_once.get()), (19, 3));
        assert_eq!(executor, ExecutorSettings::Pool { workers: 4 });
        assert_eq!(tag_children, TagChildren::Never);
        assert_eq!(platforms, Platforms::List(vec![Platform::new("linux", "amd64")]));
        assert_eq!((platform_retention, &*platforms_config_map), (Duration::from_hours(48), "seen"));
        assert_eq!(conversion_timeout, Duration::from_hours(2));
        assert_eq!(recheck_interval, Duration::from_secs(90));
        assert_eq!(recheck_interval_always, Duration::from_secs(2));
        assert_eq!((confirm_interval, keep_records_for), (Duration::from_hours(3), Duration::from_hours(24)));
        assert!(!measure_pulls);
        assert_eq!(immutable_tags, ["r.example/*:v*".parse().unwrap()]);
        assert!(plain_http_registries.contains("registry.lab:5000"));
        assert!(token_servers.contains("login.example"));
        assert_eq!(credentials_file, Some("/a/config.json".into()));
        assert!(ecr_registries.contains("public.ecr.aws"));
        assert!(!is_enabled && secrets.contains("pull") && secret_namespaces.contains("shop"));
        assert!(namespaces.contains("quiet"));
        assert!(allowed_controllers.contains(&"CloneSet.apps.kruise.io".parse().unwrap()));
        let CertificateSettings { configuration, service, serving_secret, ca_secret } = certificates.unwrap();
        let names = [configuration, service, serving_secret, ca_secret];
        assert_eq!(names, ["a", "b", "c", "d"]);
    }

    #[test]
    fn jobs_have_settings_of_their_own() {
        let template = "template: {spec: {containers: [{name: convert, image: c}]}}";
        let config = parse(&format!(
            "executor: jobs\njobs: {{maxJobs: 7, queue: batch, ttl: 2m, ecrRole: 'arn:aws:iam::1:role/r', {template}}}"
        ));
        let executor = config.unwrap().executor;
        assert_eq!(executor.max_conversions(), 7);
        let ExecutorSettings::Jobs(jobs) = executor else { panic!("{executor:?}") };
        assert_eq!((jobs.queue.as_deref(), jobs.ttl), (Some("batch"), Duration::from_mins(2)));
        assert_eq!(jobs.ecr_role.as_deref(), Some("arn:aws:iam::1:role/r"));
        let config = parse(&format!("executor: jobs\njobs: {{{template}}}")).unwrap();
        let ExecutorSettings::Jobs(jobs) = config.executor else { panic!("no jobs") };
        assert_eq!((jobs.max_jobs, jobs.queue, jobs.ttl), (20, None, Duration::from_hours(1)));
    }

    #[test]
    fn errors_name_the_file_and_the_field() {
        for (text, part) in [
            ("level: 23", "level"),
            ("lease: ''", "lease is empty"),
            ("platforms: some", "platforms"),
            ("platformRetention: 0s", "platformRetention"),
            ("workers: 0", "workers"),
            ("executor: cloud", "executor"),
            ("executor: jobs", "container named convert"),
            ("executor: jobs\njobs: {maxJobs: 0}", "jobs.maxJobs"),
            ("executor: jobs\njobs: {ttl: 0s}", "jobs.ttl"),
            ("executor: jobs\njobs: {template: {spec: {containers: [{name: convert}]}}}", "has an image"),
            ("recheckInterval: 0s", "recheckInterval"),
            ("recheckInterval: -5m", "recheckInterval"),
            ("recheckIntervalAlways: 0s", "recheckIntervalAlways"),
            ("confirmInterval: 0s", "confirmInterval"),
            ("confirmInterval: 21h", "at most 20h"),
            ("keepRecordsFor: 0s", "keepRecordsFor"),
            ("conversionTimeout: 0s", "conversionTimeout"),
            ("immutableTags: ['a b']", "white space"),
            ("tagChildren: sometimes", "auto, always, never"),
            ("allowedControllers: ['clone set']", "allowedControllers"),
            ("ecrRegistries: [ecr.example]", "\"ecr.example\""),
            ("lvl: 3", "config.yaml"),
        ] {
            let error = zstart_core::chain(&parse(text).unwrap_err());
            assert!(error.contains(part) && error.contains("config.yaml"), "{text}: {error}");
        }
    }
}

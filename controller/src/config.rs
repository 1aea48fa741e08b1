//! The configuration file: read once, into types.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use thiserror::Error;
use zstart_convert::{Level, LevelError, Settings};
use zstart_core::Platform;
use zstart_core::ecr::EcrRegistry;
use zstart_core::eligibility::pod::ControllerKindError;
use zstart_process::config_file::{self, ConfigFileError};

use crate::certificates::CertificateSettings;
use crate::demand::Exclusions;

/// What the controller is told at start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where plain HTTP is served: `/livez`, `/readyz`, `/metrics`.
    pub health_listen: SocketAddr,
    /// zstd level.
    pub level: Level,
    /// What is converted.
    pub platforms: Platforms,
    /// How many images are converted at once.
    pub workers: usize,
    /// How many layers of one image are worked on at once.
    pub layers_at_once: NonZero<usize>,
    /// How often a tag is looked up again.
    pub recheck_interval: Duration,
    /// Registries that are reached over plain http.
    pub plain_http_registries: BTreeSet<String>,
    /// Hosts outside of a registry's own domain to which it may send logins.
    pub token_servers: BTreeSet<String>,
    /// The controller's own credentials, in the form of Docker's `config.json`.
    pub credentials_file: Option<PathBuf>,
    /// Registries of Amazon ECR that are read and written as the controller's own AWS identity.
    pub ecr_registries: BTreeSet<String>,
    /// Which pods are never rewritten. The namespaces `kube-system` and zstart's own come on top.
    pub exclusions: Exclusions,
    /// Where the webhook's certificates belong.
    pub webhook: CertificateSettings,
}

/// Which platforms of an image are converted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Platforms {
    /// Those that the cluster's nodes have.
    Nodes,
    /// Every one.
    All,
    /// These.
    List(Vec<Platform>),
}

/// The file doesn't say what it should.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file can't be read, or isn't such a file.
    #[error(transparent)]
    File(#[from] ConfigFileError),
    /// A level that zstd doesn't have.
    #[error("{}: level can't be used", file.display())]
    Level {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: LevelError,
    },
    /// Another word than those that are known.
    #[error("{}: platforms is {value:?}; write nodes, all, or a list like [linux/amd64]", file.display())]
    Platforms {
        /// Which file.
        file: PathBuf,
        /// What stands there.
        value: String,
    },
    /// A maker of pods that isn't a kind.
    #[error("{}: allowedControllers has an entry that isn't a kind", file.display())]
    Controller {
        /// Which file.
        file: PathBuf,
        /// Which entry.
        source: ControllerKindError,
    },
    /// A host that isn't a registry of Amazon ECR.
    #[error(
        "{}: ecrRegistries has {value:?}, which is no registry of Amazon ECR; write a host like \
         123456789012.dkr.ecr.eu-west-1.amazonaws.com, or public.ecr.aws",
        file.display()
    )]
    EcrRegistry {
        /// Which file.
        file: PathBuf,
        /// What stands there.
        value: String,
    },
    /// A number or duration that must be above zero.
    #[error("{}: {field} must be above zero", file.display())]
    Zero {
        /// Which file.
        file: PathBuf,
        /// Which field.
        field: &'static str,
    },
}

/// The file as it is written. Every field has a default, so an empty file is a valid one.
#[expect(clippy::struct_field_names, reason = "the fields are named as users write them")]
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct File {
    health_listen: SocketAddr,
    level: i32,
    platforms: PlatformsField,
    workers: usize,
    layers_at_once: usize,
    recheck_interval: SignedDuration,
    plain_http_registries: BTreeSet<String>,
    token_servers: BTreeSet<String>,
    credentials_file: PathBuf,
    ecr_registries: BTreeSet<String>,
    excluded_namespaces: BTreeSet<String>,
    allowed_controllers: BTreeSet<String>,
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
            level: Level::default().get(),
            platforms: PlatformsField::Word("nodes".to_owned()),
            workers: 2,
            layers_at_once: Settings::LAYERS_AT_ONCE.get(),
            recheck_interval: SignedDuration::from_mins(5),
            plain_http_registries: BTreeSet::new(),
            token_servers: BTreeSet::new(),
            credentials_file: PathBuf::new(),
            ecr_registries: BTreeSet::new(),
            excluded_namespaces: BTreeSet::new(),
            allowed_controllers: BTreeSet::new(),
            webhook: CertificateSettings::default(),
        }
    }
}

impl Config {
    /// Reads and checks the file.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        Self::parse(file, &config_file::read(file)?)
    }

    /// Checks `text`; errors name `file`.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let named = || file.to_owned();
        // Without `..`, so that a new field can't be passed over.
        let File {
            health_listen,
            level,
            platforms,
            workers,
            layers_at_once,
            recheck_interval,
            plain_http_registries,
            token_servers,
            credentials_file,
            ecr_registries,
            excluded_namespaces,
            allowed_controllers,
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
        let layers_at_once = NonZero::new(layers_at_once).ok_or(zero("layersAtOnce"))?;
        let recheck_interval = Duration::try_from(recheck_interval).unwrap_or_default();
        for (field, is_zero) in [("workers", workers == 0), ("recheckInterval", recheck_interval.is_zero())] {
            if is_zero {
                return Err(zero(field));
            }
        }
        Ok(Self {
            health_listen,
            level: level.try_into().map_err(|source| ConfigError::Level { file: named(), source })?,
            platforms,
            workers,
            layers_at_once,
            recheck_interval,
            plain_http_registries,
            token_servers,
            exclusions: Exclusions { namespaces: excluded_namespaces, allowed_controllers },
            credentials_file: Some(credentials_file).filter(|file| !file.as_os_str().is_empty()),
            ecr_registries,
            webhook,
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
        assert_eq!(config.recheck_interval, Duration::from_mins(5));
        assert_eq!(config.credentials_file, None);
    }

    #[test]
    fn every_field_is_read() {
        let config = parse(
            "healthListen: 127.0.0.1:1\nlevel: 19\nplatforms: [linux/amd64]\nworkers: 4\nlayersAtOnce: 3\n\
             recheckInterval: 90s\nplainHttpRegistries: ['registry.lab:5000']\ntokenServers: [login.example]\n\
             credentialsFile: /a/config.json\necrRegistries: [public.ecr.aws]\n\
             excludedNamespaces: [quiet]\nallowedControllers: [CloneSet.apps.kruise.io]\n\
             webhook: {configuration: a, service: b, servingSecret: c, caSecret: d}\n",
        )
        .unwrap();
        // Without `..`, so that a new field can't be passed over.
        let Config {
            health_listen,
            level,
            platforms,
            workers,
            layers_at_once,
            recheck_interval,
            plain_http_registries,
            token_servers,
            credentials_file,
            ecr_registries,
            exclusions: Exclusions { namespaces, allowed_controllers },
            webhook: CertificateSettings { configuration, service, serving_secret, ca_secret },
        } = config;
        assert_eq!(health_listen.to_string(), "127.0.0.1:1");
        assert_eq!((level.get(), workers, layers_at_once.get()), (19, 4, 3));
        assert_eq!(platforms, Platforms::List(vec![Platform::new("linux", "amd64")]));
        assert_eq!(recheck_interval, Duration::from_secs(90));
        assert!(plain_http_registries.contains("registry.lab:5000"));
        assert!(token_servers.contains("login.example"));
        assert_eq!(credentials_file, Some("/a/config.json".into()));
        assert!(ecr_registries.contains("public.ecr.aws"));
        assert!(namespaces.contains("quiet"));
        assert!(allowed_controllers.contains(&"CloneSet.apps.kruise.io".parse().unwrap()));
        let names = [configuration, service, serving_secret, ca_secret];
        assert_eq!(names, ["a", "b", "c", "d"]);
    }

    #[test]
    fn errors_name_the_file_and_the_field() {
        for (text, said) in [
            ("level: 23", "level"),
            ("platforms: some", "platforms"),
            ("workers: 0", "workers"),
            ("recheckInterval: 0s", "recheckInterval"),
            ("recheckInterval: -5m", "recheckInterval"),
            ("allowedControllers: ['clone set']", "allowedControllers"),
            ("ecrRegistries: [ecr.example]", "\"ecr.example\""),
            ("lvl: 3", "config.yaml"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("config.yaml"), "{text}: {error}");
        }
    }
}

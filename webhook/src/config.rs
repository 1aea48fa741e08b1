//! The configuration file: read once, into types.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use thiserror::Error;
use zstart_core::eligibility::pod::{ControllerKind, ControllerKindError};
use zstart_core::eligibility::record_view::{TargetPrefix, VariantPolicy};
use zstart_core::{Reference, keys};
use zstart_process::config_file::{self, ConfigFileError};

#[cfg(test)]
mod tests;

/// What the webhook is told at start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where HTTPS is served: `POST /mutate`.
    pub listen: SocketAddr,
    /// Where plain HTTP is served: `/livez`, `/readyz`, `/metrics`.
    pub health_listen: SocketAddr,
    /// The `kubernetes.io/tls` Secret, in the webhook's own namespace, with the serving certificate.
    pub serving_secret: String,
    /// What decisions go by.
    pub policy: Policy,
}

/// The settings that decide.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How long records are believed and where variants may lie.
    pub variants: VariantPolicy,
    /// What is done while no node matches a pod.
    pub when_no_node: WhenNoNode,
    /// Pod controllers, besides the built-in ones, that an administrator vouches for.
    pub allowed_controllers: BTreeSet<ControllerKind>,
}

/// What is done while no node matches a pod: a cluster that scales from zero has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WhenNoNode {
    /// The pod stays as it came.
    #[default]
    Leave,
    /// The administrator says that every node to come can start zstd images.
    Rewrite,
}

/// The file doesn't say what it should.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file can't be read, or isn't such a file.
    #[error(transparent)]
    File(#[from] ConfigFileError),
    /// A duration that isn't one.
    #[error("{}: maxStaleness is {value}; write a duration above zero, e.g. 15m", file.display())]
    Staleness {
        /// Which file.
        file: PathBuf,
        /// What stands there.
        value: SignedDuration,
    },
    /// An entry that would match nothing.
    #[error(
        "{}: allowedTargets has {value:?}; write registry or registry/prefix, without scheme, tag or digest",
        file.display()
    )]
    Target {
        /// Which file.
        file: PathBuf,
        /// What stands there.
        value: String,
    },
    /// An entry that isn't a kind.
    #[error("{}: allowedControllers has an entry that isn't a kind", file.display())]
    Controller {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        source: ControllerKindError,
    },
    /// A name that no Secret can have.
    #[error("{}: servingSecret is empty; name a Secret of type kubernetes.io/tls", file.display())]
    Secret {
        /// Which file.
        file: PathBuf,
    },
}

/// The file as it is written. Every field has a default, so an empty file is a valid one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct File {
    listen: SocketAddr,
    health_listen: SocketAddr,
    serving_secret: String,
    max_staleness: SignedDuration,
    when_no_node: WhenNoNode,
    allowed_targets: Vec<String>,
    allowed_controllers: Vec<String>,
}

impl Default for File {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::UNSPECIFIED, 8443).into(),
            health_listen: (Ipv4Addr::UNSPECIFIED, 8080).into(),
            serving_secret: keys::SERVING_SECRET.to_owned(),
            max_staleness: SignedDuration::from_mins(15),
            when_no_node: WhenNoNode::default(),
            allowed_targets: Vec::new(),
            allowed_controllers: Vec::new(),
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
            listen,
            health_listen,
            serving_secret,
            max_staleness,
            when_no_node,
            allowed_targets,
            allowed_controllers,
        } = config_file::parse(file, text)?;
        if serving_secret.is_empty() {
            return Err(ConfigError::Secret { file: named() });
        }
        let max_staleness = Duration::try_from(max_staleness)
            .ok()
            .filter(|staleness| !staleness.is_zero())
            .ok_or_else(|| ConfigError::Staleness { file: named(), value: max_staleness })?;
        let targets = allowed_targets.into_iter().map(|value| {
            if is_target(&value) {
                Ok(TargetPrefix::new(&value))
            } else {
                Err(ConfigError::Target { file: named(), value })
            }
        });
        let controllers = allowed_controllers
            .iter()
            .map(|text| text.parse().map_err(|source| ConfigError::Controller { file: named(), source }));
        let policy = Policy {
            variants: VariantPolicy { max_staleness, allowed_targets: targets.collect::<Result<_, _>>()? },
            when_no_node,
            allowed_controllers: controllers.collect::<Result<_, _>>()?,
        };
        Ok(Self { listen, health_listen, serving_secret, policy })
    }
}

/// Whether it is a registry, or a registry and the front of repositories' names, as references are
/// normalised: anything else would match nothing.
fn is_target(text: &str) -> bool {
    let below = format!("{}/x", text.strip_suffix('/').unwrap_or(text));
    below.parse::<Reference>().is_ok_and(|reference| reference.name() == below)
}

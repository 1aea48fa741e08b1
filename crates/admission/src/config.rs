//! Configuration file, read once at start and parsed into types.

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

/// Settings of the webhook.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address of the HTTPS server with `POST /mutate`. Default: `0.0.0.0:8443`.
    pub listen: SocketAddr,
    /// Address of the plain HTTP server with `/livez`, `/readyz` and `/metrics`. Default: `0.0.0.0:8080`.
    pub health_listen: SocketAddr,
    /// Name of the `kubernetes.io/tls` Secret with the serving certificate, in the webhook's own namespace.
    pub serving_secret: String,
    /// Settings that decisions depend on.
    pub policy: Policy,
}

/// Settings that decisions depend on.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Freshness of records and allowed repositories of variants.
    pub variants: VariantPolicy,
    /// Decision for a pod that no node matches. Default: leave the pod unchanged.
    pub when_no_node: WhenNoNode,
    /// Pod controllers that an administrator vouches for, in addition to the built-in controllers.
    pub allowed_controllers: BTreeSet<ControllerKind>,
}

/// Decision for a pod that no node matches: a cluster that scales from zero has no nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WhenNoNode {
    /// Leaves the pod unchanged.
    #[default]
    Leave,
    /// Rewrites the pod: the administrator vouches that every future node can start zstd images.
    Rewrite,
}

/// Error in the configuration file.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file can't be read or parsed.
    #[error(transparent)]
    File(#[from] ConfigFileError),
    /// Duration that is zero or negative.
    #[error("{}: maxStaleness is {value}; write a duration above zero, e.g. 15m", file.display())]
    Staleness {
        /// Path of the file.
        file: PathBuf,
        /// Value in the file.
        value: SignedDuration,
    },
    /// Entry that would match no reference.
    #[error(
        "{}: allowedTargets has {value:?}; write registry or registry/prefix, without scheme, tag or digest",
        file.display()
    )]
    Target {
        /// Path of the file.
        file: PathBuf,
        /// Value in the file.
        value: String,
    },
    /// Entry that isn't a kind of pod controller.
    #[error("{}: allowedControllers has an entry that isn't a kind", file.display())]
    Controller {
        /// Path of the file.
        file: PathBuf,
        /// Cause.
        source: ControllerKindError,
    },
    /// Empty name, which no Secret can have.
    #[error("{}: servingSecret is empty; name a Secret of type kubernetes.io/tls", file.display())]
    Secret {
        /// Path of the file.
        file: PathBuf,
    },
}

/// Fields of the file. Every field has a default, so an empty file is valid.
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
    /// Reads, parses and validates the file.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        Self::parse(file, &config_file::read(file)?)
    }

    /// Parses and validates `text`. Errors name `file`.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let named = || file.to_owned();
        // Without `..`, so that a new field can't be forgotten.
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

/// Returns whether `text` is a registry, or a registry and a prefix of repository names, as in a normalised
/// reference. Any other text would match no reference.
fn is_target(text: &str) -> bool {
    let below = format!("{}/x", text.strip_suffix('/').unwrap_or(text));
    below.parse::<Reference>().is_ok_and(|reference| reference.name() == below)
}

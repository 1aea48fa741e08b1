//! Configuration file of the webhook, read once at start and parsed into types.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use thiserror::Error;
use zstart_core::eligibility::pod::{ControllerKind, ControllerKindError};
use zstart_core::eligibility::record_view::{TargetPrefix, VariantPolicy};
use zstart_core::eligibility::runtime::{RuntimeError, SupportedRuntimes};
use zstart_core::eligibility::vouched::{VouchedNodes, VouchedNodesError};
use zstart_core::glob::{Glob, GlobError};
use zstart_core::{Reference, keys, units};
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
    /// Graceful shutdown.
    pub drain: Drain,
    /// Settings that decisions depend on.
    pub policy: Policy,
}

/// Settings of a graceful shutdown.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// Time for which the webhook serves while unready, until no API server sends requests to it. A later request
    /// fails open: the API server admits the pod unchanged. Default: 12 seconds; at most 20 seconds.
    pub grace: Duration,
}

/// Longest grace period. With the time that open requests may take, a longer one would exceed the chart's
/// `terminationGracePeriodSeconds`.
const MAX_GRACE: Duration = Duration::from_secs(20);

/// Settings that decisions depend on.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Freshness, sizes and allowed repositories of variants.
    pub variants: VariantPolicy,
    /// Container runtimes that may get a variant. Default: containerd 1.5 or later.
    pub runtimes: SupportedRuntimes,
    /// Decision for a pod that no node matches. Default: leave the pod unchanged.
    pub when_no_node: WhenNoNode,
    /// Pod controllers that an administrator vouches for, in addition to the built-in controllers.
    pub allowed_controllers: BTreeSet<ControllerKind>,
    /// Longest time since the API server was heard, after which all pods are left alone. Default: 5 minutes.
    pub max_cache_age: Duration,
    /// Images whose signature a policy requires, as patterns of `registry/repository`. They are left alone.
    pub signed_images: Vec<Glob>,
}

/// Decision for a pod that no node matches: a cluster that scales from zero has no nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WhenNoNode {
    /// Leaves the pod unchanged.
    #[default]
    Leave,
    /// Rewrites the pod: the administrator vouches that every future node can start zstd images.
    Rewrite,
    /// Rewrites a pod that asks for such nodes: the administrator vouches for them.
    Vouched(Vec<VouchedNodes>),
}

/// Error in the configuration file.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file can't be read or parsed.
    #[error(transparent)]
    File(#[from] ConfigFileError),
    /// Value that its setting doesn't take.
    #[error("{}: {setting} has an invalid value", file.display())]
    Setting {
        /// Path of the file.
        file: PathBuf,
        /// Name of the setting.
        setting: &'static str,
        /// Cause.
        source: SettingError,
    },
}

/// Value that its setting doesn't take.
#[derive(Debug, Error)]
pub enum SettingError {
    /// Duration that is zero or negative.
    #[error("{value} is no duration above zero, e.g. 15m")]
    Duration {
        /// Value in the file.
        value: SignedDuration,
    },
    /// Grace period out of range.
    #[error("{value:#} is no duration from 0s to {}s", MAX_GRACE.as_secs())]
    Grace {
        /// Value in the file.
        value: SignedDuration,
    },
    /// Entry that would match no reference.
    #[error("{value:?} matches nothing; write registry or registry/prefix, without scheme, tag or digest")]
    Target {
        /// Value in the file.
        value: String,
    },
    /// Entry that isn't a kind of pod controller.
    #[error(transparent)]
    Controller(#[from] ControllerKindError),
    /// Runtime that can't start zstd images, or isn't one.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// Entry that isn't a selector of nodes.
    #[error(transparent)]
    Nodes(#[from] VouchedNodesError),
    /// Word that isn't a decision.
    #[error("{value:?} is unknown; write leave, rewrite or a list of node selectors")]
    WhenNoNode {
        /// Value in the file.
        value: String,
    },
    /// Entry that isn't a pattern.
    #[error(transparent)]
    Pattern(#[from] GlobError),
    /// Text that isn't a size.
    #[error("{value:?} is no size in bytes, e.g. 10485760 or 10Mi")]
    Size {
        /// Value in the file.
        value: String,
    },
    /// Number that isn't a percentage.
    #[error("{value} is no percentage from 0 to 100")]
    Percentage {
        /// Value in the file.
        value: f64,
    },
    /// Empty name, which no Secret can have.
    #[error("the name is empty; name a Secret of type kubernetes.io/tls")]
    Secret,
}

/// Fields of the file. Every field has a default, so an empty file is valid.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct File {
    listen: SocketAddr,
    health_listen: SocketAddr,
    serving_secret: String,
    drain: DrainFields,
    max_staleness: SignedDuration,
    max_staleness_always: SignedDuration,
    immutable_tags: Vec<String>,
    when_no_node: TextOrList,
    allowed_targets: Vec<String>,
    allowed_controllers: Vec<String>,
    runtimes: Option<BTreeMap<String, String>>,
    min_size: Size,
    min_gain: f64,
    signed_images: Vec<String>,
    max_cache_age: SignedDuration,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TextOrList {
    Text(String),
    List(Vec<String>),
}

/// Number of bytes, or a quantity of Kubernetes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Size {
    Bytes(u64),
    Text(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct DrainFields {
    grace: SignedDuration,
}

impl Default for DrainFields {
    /// kube-proxies remove an endpoint within some seconds. API servers that use a load balancer take longer.
    fn default() -> Self {
        Self { grace: SignedDuration::from_secs(12) }
    }
}

impl Default for File {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::UNSPECIFIED, 8443).into(),
            health_listen: (Ipv4Addr::UNSPECIFIED, 8080).into(),
            serving_secret: keys::SERVING_SECRET.to_owned(),
            drain: DrainFields::default(),
            max_staleness: SignedDuration::from_mins(15),
            max_staleness_always: SignedDuration::from_mins(2),
            immutable_tags: Vec::new(),
            when_no_node: TextOrList::Text("leave".to_owned()),
            allowed_targets: Vec::new(),
            allowed_controllers: Vec::new(),
            runtimes: None,
            min_size: Size::Bytes(0),
            min_gain: 0.0,
            signed_images: Vec::new(),
            max_cache_age: SignedDuration::from_mins(5),
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
        let invalid = |setting| {
            move |source: SettingError| ConfigError::Setting { file: file.to_owned(), setting, source }
        };
        // Without `..`, so that a new field can't be forgotten.
        let File {
            listen,
            health_listen,
            serving_secret,
            drain: DrainFields { grace },
            max_staleness,
            max_staleness_always,
            immutable_tags,
            when_no_node,
            allowed_targets,
            allowed_controllers,
            runtimes,
            min_size,
            min_gain,
            signed_images,
            max_cache_age,
        } = config_file::parse(file, text)?;
        if serving_secret.is_empty() {
            return Err(invalid("servingSecret")(SettingError::Secret));
        }
        let drain = Drain { grace: grace_period(grace).map_err(invalid("drain.grace"))? };
        let variants = VariantPolicy {
            max_staleness: duration(max_staleness).map_err(invalid("maxStaleness"))?,
            max_staleness_always: duration(max_staleness_always).map_err(invalid("maxStalenessAlways"))?,
            immutable_tags: each(&immutable_tags).map_err(invalid("immutableTags"))?,
            allowed_targets: allowed_targets
                .into_iter()
                .map(target)
                .collect::<Result<_, _>>()
                .map_err(invalid("allowedTargets"))?,
            min_size: min_size.bytes().map_err(invalid("minSize"))?,
            min_gain: percentage(min_gain).map_err(invalid("minGain"))?,
        };
        let policy = Policy {
            variants,
            runtimes: supported(runtimes.as_ref()).map_err(invalid("runtimes"))?,
            when_no_node: when_no_node.decision().map_err(invalid("whenNoNode"))?,
            allowed_controllers: each(&allowed_controllers)
                .map_err(invalid("allowedControllers"))?
                .into_iter()
                .collect(),
            signed_images: each(&signed_images).map_err(invalid("signedImages"))?,
            max_cache_age: duration(max_cache_age).map_err(invalid("maxCacheAge"))?,
        };
        Ok(Self { listen, health_listen, serving_secret, drain, policy })
    }
}

/// Parses each entry.
fn each<T>(entries: &[String]) -> Result<Vec<T>, SettingError>
where
    T: std::str::FromStr,
    SettingError: From<T::Err>,
{
    entries.iter().map(|entry| entry.parse().map_err(SettingError::from)).collect()
}

fn duration(value: SignedDuration) -> Result<Duration, SettingError> {
    let positive = Duration::try_from(value).ok().filter(|duration| !duration.is_zero());
    positive.ok_or(SettingError::Duration { value })
}

fn grace_period(value: SignedDuration) -> Result<Duration, SettingError> {
    let valid = Duration::try_from(value).ok().filter(|grace| *grace <= MAX_GRACE);
    valid.ok_or(SettingError::Grace { value })
}

fn percentage(value: f64) -> Result<f64, SettingError> {
    if (0.0..=100.0).contains(&value) { Ok(value) } else { Err(SettingError::Percentage { value }) }
}

fn supported(runtimes: Option<&BTreeMap<String, String>>) -> Result<SupportedRuntimes, SettingError> {
    let Some(runtimes) = runtimes else { return Ok(SupportedRuntimes::default()) };
    let entries = runtimes.iter().map(|(name, version)| (name.as_str(), version.as_str()));
    Ok(SupportedRuntimes::parse(entries)?)
}

/// Takes a registry, or a registry and a prefix of repository names, as in a normalised reference. Any other
/// text would match no reference.
fn target(value: String) -> Result<TargetPrefix, SettingError> {
    let below = format!("{}/x", value.strip_suffix('/').unwrap_or(&value));
    if below.parse::<Reference>().is_ok_and(|reference| reference.name() == below) {
        Ok(TargetPrefix::new(&value))
    } else {
        Err(SettingError::Target { value })
    }
}

impl TextOrList {
    fn decision(self) -> Result<WhenNoNode, SettingError> {
        match self {
            Self::Text(word) if word == "leave" => Ok(WhenNoNode::Leave),
            Self::Text(word) if word == "rewrite" => Ok(WhenNoNode::Rewrite),
            Self::Text(value) => Err(SettingError::WhenNoNode { value }),
            Self::List(selectors) => Ok(WhenNoNode::Vouched(each(&selectors)?)),
        }
    }
}

impl Size {
    fn bytes(self) -> Result<u64, SettingError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Text(value) => units::parse_quantity(&value).ok_or(SettingError::Size { value }),
        }
    }
}

//! Manifests, indexes and configs. All members are kept for the comparison.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::digest::Digest;
use crate::fault::ContentFault;
use crate::keys;

/// Members of a JSON object. A `null` counts as absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Members {
    members: Map<String, Value>,
}

/// A manifest or index.
#[derive(Clone, Debug)]
pub(crate) enum Document {
    Manifest(Manifest),
    Index(Index),
}

/// An image manifest.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) members: Members,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// An image index.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    pub(crate) members: Members,
    pub(crate) entries: Vec<Descriptor>,
}

/// A reference to content by digest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Descriptor {
    pub(crate) members: Members,
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// Layers and history of a config.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) diff_ids: Vec<String>,
    /// Number of history entries that have a layer. `None` without history.
    pub(crate) history_layers: Option<usize>,
    /// Platform in the notation of [`Descriptor::platform`].
    pub(crate) platform: Option<String>,
}

#[derive(Deserialize)]
struct ConfigMembers {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    rootfs: RootFs,
    history: Option<Vec<HistoryEntry>>,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct HistoryEntry {
    empty_layer: Option<bool>,
}

#[derive(Deserialize)]
struct PlatformMembers {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
}

impl Members {
    fn new(members: Map<String, Value>) -> Self {
        Self { members: members.into_iter().filter(|(_, value)| !value.is_null()).collect() }
    }

    fn get<T: DeserializeOwned>(&self, object: &'static str, name: &str) -> Result<Option<T>, ContentFault> {
        let value = self.members.get(name).cloned();
        value
            .map(serde_json::from_value)
            .transpose()
            .map_err(|error| malformed(object, format!("{name}: {error}")))
    }

    fn require<T: DeserializeOwned>(&self, object: &'static str, name: &str) -> Result<T, ContentFault> {
        self.get(object, name)?.ok_or_else(|| malformed(object, format!("it has no {name}")))
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name)?.as_str()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// All annotations.
    pub(crate) fn annotations(&self) -> BTreeMap<String, Value> {
        let annotations = self.members.get("annotations").and_then(Value::as_object);
        annotations.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.members.get("annotations")?.get(key)?.as_str()
    }

    /// Name of the first member that differs, apart from `except` and the annotations.
    pub(crate) fn first_difference<'a>(&'a self, other: &'a Self, except: &[&str]) -> Option<&'a str> {
        let names = self.members.keys().chain(other.members.keys()).map(String::as_str);
        let compared = |name: &&str| *name != "annotations" && !except.contains(name);
        names.filter(compared).find(|name| self.members.get(*name) != other.members.get(*name))
    }
}

impl Document {
    /// Parses a manifest or index.
    pub(crate) fn parse(content: &[u8]) -> Result<Self, ContentFault> {
        let members: Map<String, Value> =
            serde_json::from_slice(content).map_err(|error| malformed("manifest", error.to_string()))?;
        let members = Members::new(members);
        match (members.has("layers"), members.has("manifests")) {
            // One reader would see an image, another an index (CVE-2021-41190).
            (true, true) => Err(malformed("manifest", "it has both layers and manifests".to_owned())),
            (false, false) => Err(malformed("manifest", "it has neither layers nor manifests".to_owned())),
            (true, false) => {
                let config = Descriptor::parse(members.require("manifest", "config")?)?;
                let layers = descriptors("manifest", members.require("manifest", "layers")?)?;
                Ok(Self::Manifest(Manifest { members, config, layers }))
            }
            (false, true) => {
                let entries = descriptors("index", members.require("index", "manifests")?)?;
                Ok(Self::Index(Index { members, entries }))
            }
        }
    }

    pub(crate) fn members(&self) -> &Members {
        match self {
            Self::Manifest(manifest) => &manifest.members,
            Self::Index(index) => &index.members,
        }
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Manifest(_) => "manifest",
            Self::Index(_) => "index",
        }
    }
}

impl Descriptor {
    fn parse(members: Map<String, Value>) -> Result<Self, ContentFault> {
        let members = Members::new(members);
        let digest: String = members.require("descriptor", "digest")?;
        Ok(Self {
            media_type: members.require("descriptor", "mediaType")?,
            digest: Digest::parse(&digest).ok_or_else(|| {
                malformed("descriptor", format!("{digest:?} is no sha256 or sha512 digest"))
            })?,
            size: members.require("descriptor", "size")?,
            members,
        })
    }

    /// Platform as `os/architecture[/variant]`; `None` if the entry names none.
    pub(crate) fn platform(&self) -> Option<String> {
        let platform: PlatformMembers = self.members.get("descriptor", "platform").ok()??;
        platform_name(platform.os?, platform.architecture?, platform.variant)
    }

    /// Digest of the image that the entry attests; `None` if the entry is no attestation (`BuildKit`).
    pub(crate) fn attested_digest(&self) -> Option<&str> {
        self.members.annotation(keys::ATTESTED_DIGEST)
    }

    pub(crate) fn is_index(&self) -> bool {
        keys::INDEX_TYPES.contains(&&*self.media_type)
    }
}

impl Config {
    pub(crate) fn parse(content: &[u8]) -> Result<Self, ContentFault> {
        let members: ConfigMembers =
            serde_json::from_slice(content).map_err(|error| malformed("config", error.to_string()))?;
        let with_layer = |history: Vec<HistoryEntry>| {
            history.iter().filter(|entry| entry.empty_layer != Some(true)).count()
        };
        let names = members.os.zip(members.architecture);
        Ok(Self {
            diff_ids: members.rootfs.diff_ids.unwrap_or_default(),
            // An empty history says nothing, as a missing one.
            history_layers: members.history.filter(|history| !history.is_empty()).map(with_layer),
            platform: names.and_then(|(os, architecture)| platform_name(os, architecture, members.variant)),
        })
    }
}

fn descriptors(
    object: &'static str,
    descriptors: Vec<Map<String, Value>>,
) -> Result<Vec<Descriptor>, ContentFault> {
    let parsed: Result<Vec<_>, _> = descriptors.into_iter().map(Descriptor::parse).collect();
    parsed.map_err(|fault| malformed(object, fault.to_string()))
}

#[expect(clippy::unnecessary_wraps, reason = "both callers chain options")]
fn platform_name(os: String, architecture: String, variant: Option<String>) -> Option<String> {
    let variant = variant.filter(|variant| !variant.is_empty());
    Some([Some(os), Some(architecture), variant].into_iter().flatten().collect::<Vec<_>>().join("/"))
}

fn malformed(object: &'static str, reason: String) -> ContentFault {
    ContentFault::Malformed { object, reason }
}

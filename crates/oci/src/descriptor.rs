//! Descriptors: media type, digest, size and any other members.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zstart_core::{Digest, Platform, keys};

use super::json::{JsonError, RawObject};
use super::media_type;

/// Prefixes of annotations that describe the compressed bytes, and are false after recompression. (eStargz:
/// stargz-snapshotter `estargz/types.go`; zstd:chunked: containers/storage.)
const STALE_ANNOTATION_PREFIXES: [&str; 3] =
    ["containerd.io/snapshot/stargz/", "io.containers.estargz.", "io.github.containers.zstd-chunked."];

/// A reference to content by digest (OCI image specification, `descriptor.md`). Unknown members keep their
/// bytes.
#[derive(Clone, Debug)]
pub struct Descriptor {
    object: RawObject,
    media_type: String,
    digest: Digest,
    size: u64,
}

impl Descriptor {
    /// Creates a descriptor with the three required members.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Result<Self, JsonError> {
        let mut object = RawObject::default();
        object.set("mediaType", media_type)?;
        object.set("digest", &digest)?;
        object.set("size", &size)?;
        Ok(Self { object, media_type: media_type.to_owned(), digest, size })
    }

    fn from_object(object: RawObject) -> Result<Self, JsonError> {
        Ok(Self {
            media_type: object.require("mediaType")?,
            digest: object.require("digest")?,
            size: object.require("size")?,
            object,
        })
    }

    /// The media type, as written.
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// The content's digest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The content's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The descriptor's `artifactType`, if present.
    pub fn artifact_type(&self) -> Option<String> {
        self.object.get("artifactType").ok().flatten()
    }

    /// Whether the member exists and isn't `null`.
    pub fn has(&self, name: &str) -> bool {
        self.object.has(name)
    }

    /// The platform; `None` if operating system or architecture is absent.
    pub fn platform(&self) -> Result<Option<Platform>, JsonError> {
        self.object.platform()
    }

    /// All annotations.
    pub fn annotations(&self) -> Result<BTreeMap<String, String>, JsonError> {
        self.object.annotations()
    }

    /// Adds or replaces an annotation.
    pub fn annotate(&mut self, key: &str, value: &str) -> Result<(), JsonError> {
        let mut annotations = self.object.all_annotations()?;
        annotations.insert(key.to_owned(), Some(value.to_owned()));
        self.object.set("annotations", &annotations)
    }

    /// A copy with another media type.
    pub fn with_media_type(&self, media_type: &str) -> Result<Self, JsonError> {
        let mut next = self.clone();
        next.object.set("mediaType", media_type)?;
        media_type.clone_into(&mut next.media_type);
        Ok(next)
    }

    /// The descriptor of the recompressed layer. Drops annotations that describe the old bytes, and adds one
    /// with the digest of the source layer.
    pub fn recompressed(&self, digest: Digest, size: u64) -> Result<Self, JsonError> {
        let mut next = self.with_content(media_type::OCI_TAR_ZSTD, digest, size)?;
        let mut annotations = self.object.all_annotations()?;
        annotations.retain(|key, _| !STALE_ANNOTATION_PREFIXES.iter().any(|prefix| key.starts_with(prefix)));
        annotations.insert(keys::LAYER_SOURCE_DIGEST.to_owned(), Some(self.digest.to_string()));
        next.object.set("annotations", &annotations)?;
        Ok(next)
    }

    /// The index entry of the converted manifest. Adds an annotation with the digest of the source manifest.
    pub fn converted(&self, digest: Digest, size: u64) -> Result<Self, JsonError> {
        let mut next = self.with_content(media_type::OCI_MANIFEST, digest, size)?;
        next.annotate(keys::SOURCE_DIGEST, self.digest.as_str())?;
        Ok(next)
    }

    /// A copy for other content. Drops `data` and `urls`, because both refer to the old content.
    fn with_content(&self, media_type: &str, digest: Digest, size: u64) -> Result<Self, JsonError> {
        let mut next = self.with_media_type(media_type)?;
        next.object.set("digest", &digest)?;
        next.object.set("size", &size)?;
        next.object.remove("data");
        next.object.remove("urls");
        next.digest = digest;
        next.size = size;
        Ok(next)
    }
}

impl Serialize for Descriptor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_object(RawObject::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

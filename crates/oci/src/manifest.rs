//! Image manifests and indexes.

use std::collections::BTreeMap;

use bytes::Bytes;
use thiserror::Error;
use zstart_core::{Digest, Platform, keys};

use super::descriptor::Descriptor;
use super::json::{JsonError, RawObject};
use super::media_type;

/// The bytes of a manifest or index as the repository served them, with their digest.
#[derive(Clone, Debug)]
pub struct RawManifest {
    /// The unchanged bytes.
    pub bytes: Bytes,
    /// Digest of the bytes.
    pub digest: Digest,
    /// The registry's `Content-Type`. `None` if it is no media type of a manifest or index.
    pub served_media_type: Option<String>,
}

/// A parsed manifest or index.
#[derive(Clone, Debug)]
pub enum Document {
    /// One image.
    Manifest(ImageManifest),
    /// Several images, one per platform.
    Index(ImageIndex),
}

/// An image manifest (OCI `manifest.md`, Docker schema 2).
#[derive(Clone, Debug)]
pub struct ImageManifest {
    object: RawObject,
    /// The image config.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
}

/// An image index (OCI `image-index.md`) or Docker manifest list.
#[derive(Clone, Debug)]
pub struct ImageIndex {
    object: RawObject,
    /// Entries in the index's order.
    pub entries: Vec<IndexEntry>,
}

/// One entry of an index.
#[derive(Clone, Debug)]
pub struct IndexEntry {
    /// Descriptor of the entry's manifest.
    pub descriptor: Descriptor,
    /// Platform in the entry's descriptor; `None` if absent.
    pub platform: Option<Platform>,
    /// Digest of the attested image (BuildKit's `vnd.docker.reference.digest`); `None` if the entry is no
    /// attestation.
    pub attested_digest: Option<String>,
}

/// An error of parsing a manifest or index.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// The bytes aren't JSON, or a member is missing or invalid.
    #[error("manifest {digest} is malformed")]
    Json {
        /// Digest of the manifest.
        digest: Digest,
        /// The parser's error.
        #[source]
        source: JsonError,
    },
    /// The manifest has both `layers` and `manifests`: one reader would see an image, another an index
    /// (CVE-2021-41190).
    #[error("manifest {digest} has both \"layers\" and \"manifests\" and could be read in two ways")]
    Ambiguous {
        /// Digest of the manifest.
        digest: Digest,
    },
    /// `Content-Type` and `mediaType` differ: clients that trust the header see another document than clients
    /// that trust the member (CVE-2021-41190).
    #[error("manifest {digest} has Content-Type {served:?}, but its content is {stated:?}")]
    Contradiction {
        /// Digest of the manifest.
        digest: Digest,
        /// Media type in the registry's `Content-Type`.
        served: String,
        /// Media type of the manifest's content.
        stated: String,
    },
    /// The manifest has Docker's first format.
    #[error(
        "manifest {digest} is Docker schema 1, which has no config; push the image again with a current tool"
    )]
    Schema1 {
        /// Digest of the manifest.
        digest: Digest,
    },
    /// The media type is neither a manifest's nor an index's.
    #[error("manifest {digest} has media type {media_type:?}, which is not a container image")]
    UnknownType {
        /// Digest of the manifest.
        digest: Digest,
        /// The manifest's `mediaType`.
        media_type: String,
    },
}

impl RawManifest {
    /// Creates a manifest from its bytes and computes the digest.
    pub fn new(bytes: Bytes) -> Self {
        Self { digest: Digest::sha256_of(&bytes), bytes, served_media_type: None }
    }

    /// Sets the `Content-Type` of the registry's response.
    #[must_use]
    pub fn with_content_type(self, content_type: &str) -> Self {
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        let is_known = media_type::ACCEPT.contains(&media_type);
        Self { served_media_type: is_known.then(|| media_type.to_owned()), ..self }
    }

    /// Parses the manifest or index.
    pub fn read(&self) -> Result<Document, ManifestError> {
        let malformed = |source| ManifestError::Json { digest: self.digest.clone(), source };
        let object = RawObject::parse(&self.bytes).map_err(malformed)?;
        let stated: Option<String> = object.get("mediaType").map_err(malformed)?;
        let (layers, manifests) = (object.has("layers"), object.has("manifests"));
        let schema: Option<u64> = object.get("schemaVersion").map_err(malformed)?;
        if schema == Some(1) || stated.as_deref().is_some_and(media_type::is_schema_1) {
            return Err(ManifestError::Schema1 { digest: self.digest.clone() });
        }
        if layers && manifests {
            return Err(ManifestError::Ambiguous { digest: self.digest.clone() });
        }
        // `mediaType` is optional in OCI documents. If absent, the members decide.
        let kind = match (stated.as_deref(), manifests) {
            (None, true) => media_type::OCI_INDEX,
            (None, false) => media_type::OCI_MANIFEST,
            (Some(stated), _) => stated,
        };
        if let Some(served) = self.served_media_type.as_deref().filter(|served| *served != kind) {
            let (served, stated) = (served.to_owned(), kind.to_owned());
            return Err(ManifestError::Contradiction { digest: self.digest.clone(), served, stated });
        }
        match kind {
            media_type::OCI_INDEX | media_type::DOCKER_INDEX => {
                ImageIndex::from_object(object).map(Document::Index).map_err(malformed)
            }
            media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST => {
                ImageManifest::from_object(object).map(Document::Manifest).map_err(malformed)
            }
            other => {
                Err(ManifestError::UnknownType { digest: self.digest.clone(), media_type: other.to_owned() })
            }
        }
    }

    /// Media type for a push: the document's own `mediaType`, or OCI's if absent.
    pub fn media_type(&self) -> Result<String, ManifestError> {
        let malformed = |source| ManifestError::Json { digest: self.digest.clone(), source };
        let object = RawObject::parse(&self.bytes).map_err(malformed)?;
        let stated: Option<String> = object.get("mediaType").map_err(malformed)?;
        let default = if object.has("manifests") { media_type::OCI_INDEX } else { media_type::OCI_MANIFEST };
        Ok(stated.unwrap_or_else(|| default.to_owned()))
    }

    /// Media type for a push of an index entry of any kind: the document's own `mediaType`, or the
    /// descriptor's if absent.
    pub fn media_type_for_entry(&self, entry: &Descriptor) -> String {
        let object = RawObject::parse(&self.bytes).ok();
        let stated: Option<String> = object.and_then(|object| object.get("mediaType").ok().flatten());
        stated.unwrap_or_else(|| entry.media_type().to_owned())
    }
}

impl ImageManifest {
    fn from_object(object: RawObject) -> Result<Self, JsonError> {
        // An image without files has no layers. Go's encoders write `null` for that.
        let layers = object.get("layers")?.unwrap_or_default();
        Ok(Self { config: object.require("config")?, layers, object })
    }

    /// Name of the member (`artifactType` or `subject`) that marks an artifact instead of an image.
    pub fn artifact_member(&self) -> Option<&'static str> {
        artifact_member(&self.object)
    }

    /// All annotations.
    pub fn annotations(&self) -> Result<BTreeMap<String, String>, JsonError> {
        self.object.annotations()
    }

    /// The variant's manifest: the source's config, other layers, OCI media types, and annotations with
    /// source and settings.
    pub fn converted(
        &self,
        source: &Digest,
        settings: &str,
        layers: &[Descriptor],
    ) -> Result<RawManifest, JsonError> {
        let mut object = self.object.clone();
        object.set("schemaVersion", &2)?;
        object.set("mediaType", media_type::OCI_MANIFEST)?;
        object.set("config", &self.config.with_media_type(media_type::OCI_CONFIG)?)?;
        object.set("layers", layers)?;
        object.set("annotations", &with_source_annotations(object.all_annotations()?, source, settings))?;
        Ok(RawManifest::new(object.to_bytes()?.into()))
    }
}

impl ImageIndex {
    fn from_object(object: RawObject) -> Result<Self, JsonError> {
        let descriptors: Vec<Descriptor> = object.get("manifests")?.unwrap_or_default();
        let entries = descriptors.into_iter().map(IndexEntry::new).collect::<Result<_, _>>()?;
        Ok(Self { object, entries })
    }

    /// Name of the member (`artifactType` or `subject`) that marks an artifact instead of an image.
    pub fn artifact_member(&self) -> Option<&'static str> {
        artifact_member(&self.object)
    }

    /// All annotations.
    pub fn annotations(&self) -> Result<BTreeMap<String, String>, JsonError> {
        self.object.annotations()
    }

    /// The variant's index: other entries, OCI's media type, and annotations with source and settings.
    pub fn converted(
        &self,
        source: &Digest,
        settings: &str,
        entries: &[Descriptor],
    ) -> Result<RawManifest, JsonError> {
        let mut object = self.object.clone();
        object.set("schemaVersion", &2)?;
        object.set("mediaType", media_type::OCI_INDEX)?;
        object.set("manifests", entries)?;
        object.set("annotations", &with_source_annotations(object.all_annotations()?, source, settings))?;
        Ok(RawManifest::new(object.to_bytes()?.into()))
    }
}

impl IndexEntry {
    fn new(descriptor: Descriptor) -> Result<Self, JsonError> {
        let attested_digest = descriptor.annotations()?.remove("vnd.docker.reference.digest");
        Ok(Self { platform: descriptor.platform()?, attested_digest, descriptor })
    }
}

fn artifact_member(object: &RawObject) -> Option<&'static str> {
    ["artifactType", "subject"].into_iter().find(|name| object.has(name))
}

fn with_source_annotations(
    mut annotations: BTreeMap<String, Option<String>>,
    source: &Digest,
    settings: &str,
) -> BTreeMap<String, Option<String>> {
    annotations.insert(keys::SOURCE_DIGEST.to_owned(), Some(source.to_string()));
    annotations.insert(keys::SETTINGS.to_owned(), Some(settings.to_owned()));
    annotations
}

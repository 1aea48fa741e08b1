//! Images as users name them: a registry reference, or `oci:FOLDER[:TAG]`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use zstart_core::reference::ReferenceError;
use zstart_core::{Digest, Reference, Tag};
use zstart_registry::{LayoutFolder, Store};

use crate::error::CliError;
use crate::registries::Registries;

/// Reference to an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ImageRef {
    /// In a registry.
    Registry { reference: Reference, version: Version },
    /// In an OCI layout folder.
    Layout { folder: PathBuf, tag: Option<Tag> },
}

/// Origin of a registry reference's tag or digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// The user wrote it.
    Explicit,
    /// The tag is `latest` by default.
    Default,
}

/// Tag or digest of an image in its repository.
#[derive(Clone, Debug)]
pub(crate) enum ManifestSelector {
    Tag(Tag),
    Digest(Digest),
}

impl FromStr for ImageRef {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let Some(rest) = text.strip_prefix("oci:") else {
            let last = text.rsplit('/').next().unwrap_or(text);
            let version = if last.contains([':', '@']) { Version::Explicit } else { Version::Default };
            return Ok(Self::Registry { reference: text.parse()?, version });
        };
        // A colon before a slash is part of the folder's name.
        match rest.rsplit_once(':') {
            Some((folder, tag)) if !tag.contains('/') => {
                Ok(Self::Layout { folder: folder.into(), tag: Some(tag.parse()?) })
            }
            _ if rest.is_empty() => Err(ReferenceError::Empty),
            _ => Ok(Self::Layout { folder: rest.into(), tag: None }),
        }
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry { reference, version: _ } => write!(formatter, "{reference}"),
            Self::Layout { folder, tag: Some(tag) } => write!(formatter, "oci:{}:{tag}", folder.display()),
            Self::Layout { folder, tag: None } => write!(formatter, "oci:{}", folder.display()),
        }
    }
}

impl ImageRef {
    /// Opens the repository.
    pub(crate) async fn open(&self, registries: &Registries<'_>) -> Result<Arc<dyn Store>, CliError> {
        match self {
            Self::Layout { folder, tag: _ } => Ok(Arc::new(LayoutFolder::new(folder))),
            Self::Registry { reference, version: _ } => registries.open(reference).await,
        }
    }

    /// Returns the tag or digest of the image. A layout folder that holds one image needs no tag.
    pub(crate) async fn selector(&self) -> Result<ManifestSelector, CliError> {
        match self {
            Self::Registry { reference, version: _ } => match (reference.digest(), reference.tag()) {
                (Some(digest), _) => Ok(ManifestSelector::Digest(digest.clone())),
                (None, Some(tag)) => Ok(ManifestSelector::Tag(tag.clone())),
                (None, None) => unreachable!("a reference has a tag or a digest"),
            },
            Self::Layout { folder: _, tag: Some(tag) } => Ok(ManifestSelector::Tag(tag.clone())),
            Self::Layout { folder, tag: None } => Ok(ManifestSelector::Tag(only_tag(folder).await?)),
        }
    }

    /// Returns the tag that the user chose for a target; `None` if zstart derives the tag.
    pub(crate) fn target_tag(&self) -> Result<Option<Tag>, CliError> {
        match self {
            Self::Layout { folder: _, tag } => Ok(tag.clone()),
            Self::Registry { reference, version: _ } if reference.digest().is_some() => {
                Err(CliError::TargetDigest { target: reference.to_string() })
            }
            Self::Registry { reference, version: Version::Explicit } => Ok(reference.tag().cloned()),
            Self::Registry { reference: _, version: Version::Default } => Ok(None),
        }
    }
}

impl ManifestSelector {
    /// Returns the tag; `None` for a digest.
    pub(crate) fn tag(&self) -> Option<&Tag> {
        match self {
            Self::Tag(tag) => Some(tag),
            Self::Digest(_) => None,
        }
    }

    /// Returns the engine's form of this selector.
    pub(crate) fn key(&self) -> zstart_registry::ManifestKey<'_> {
        match self {
            Self::Tag(tag) => zstart_registry::ManifestKey::Tag(tag),
            Self::Digest(digest) => zstart_registry::ManifestKey::Digest(digest),
        }
    }
}

/// Returns the tag of a layout folder's only image.
async fn only_tag(folder: &Path) -> Result<Tag, CliError> {
    let mut tags = LayoutFolder::new(folder).names().await?;
    let folder = folder.to_owned();
    match (tags.pop(), &tags[..]) {
        (None, _) => Err(CliError::NoTaggedImage { folder }),
        (Some(name), []) => {
            name.parse().map_err(|source| CliError::InvalidLayoutTag { folder, name, source })
        }
        (Some(last), _) => {
            tags.push(last);
            Err(CliError::AmbiguousImage { folder, tags })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oci_prefix_selects_a_layout_folder() {
        let layout = |folder: &str, tag: Option<&str>| ImageRef::Layout {
            folder: folder.into(),
            tag: tag.map(|tag| tag.parse().unwrap()),
        };
        assert_eq!("oci:folder:v1".parse(), Ok(layout("folder", Some("v1"))));
        assert_eq!("oci:/a/b:c/d".parse(), Ok(layout("/a/b:c/d", None)));
        assert!("oci:".parse::<ImageRef>().is_err());
    }

    #[test]
    fn reference_without_tag_has_the_default_version() {
        let Ok(ImageRef::Registry { reference, version }) = "localhost:5000/app".parse() else { panic!() };
        assert_eq!(reference.to_string(), "localhost:5000/app:latest");
        assert_eq!(version, Version::Default);
        assert!(matches!("app:v1".parse(), Ok(ImageRef::Registry { version: Version::Explicit, .. })));
    }

    #[tokio::test]
    async fn layout_folder_without_tag_needs_exactly_one_image() {
        let folder = tempfile::tempdir().unwrap();
        let select = async |names: &[&str]| {
            let entries: Vec<_> = names
                .iter()
                .map(|name| {
                    serde_json::json!({
                        "mediaType": "application/vnd.oci.image.manifest.v1+json",
                        "digest": Digest::sha256_of(name.as_bytes()),
                        "size": 2,
                        "annotations": {"org.opencontainers.image.ref.name": name},
                    })
                })
                .collect();
            let index = serde_json::json!({"schemaVersion": 2, "manifests": entries});
            std::fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
            std::fs::write(folder.path().join("index.json"), index.to_string()).unwrap();
            only_tag(folder.path()).await.map_err(|error| error.to_string())
        };
        assert_eq!(select(&["v1"]).await.unwrap().as_str(), "v1");
        assert!(select(&[]).await.unwrap_err().contains("holds no image with a tag"));
        assert!(
            select(&["v1", "v2"]).await.unwrap_err().contains("holds the images v1, v2; name one as oci:")
        );
        let error = select(&["docker.io/library/app:v1"]).await.unwrap_err();
        assert!(error.contains("\"docker.io/library/app:v1\", which is no valid tag"), "{error}");
    }
}

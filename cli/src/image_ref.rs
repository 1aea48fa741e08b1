//! Images as users name them: a registry reference, or `oci:FOLDER[:TAG]`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use zstart_core::reference::ReferenceError;
use zstart_core::{Digest, Reference, Tag};
use zstart_registry::{LayoutFolder, Repository};

use crate::error::CliError;
use crate::registries::Registries;

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ImageRef {
    /// In a registry. `tagged` says whether the user wrote a tag or digest.
    Registry { reference: Reference, tagged: bool },
    /// In an OCI layout folder.
    Layout { folder: PathBuf, tag: Option<Tag> },
}

/// An image's name inside its repository.
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
            return Ok(Self::Registry { reference: text.parse()?, tagged: last.contains([':', '@']) });
        };
        // A colon with a slash behind it is part of the folder's name.
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
            Self::Registry { reference, tagged: _ } => write!(formatter, "{reference}"),
            Self::Layout { folder, tag: Some(tag) } => write!(formatter, "oci:{}:{tag}", folder.display()),
            Self::Layout { folder, tag: None } => write!(formatter, "oci:{}", folder.display()),
        }
    }
}

impl ImageRef {
    /// Opens the repository.
    pub(crate) async fn open(&self, registries: &Registries<'_>) -> Result<Arc<dyn Repository>, CliError> {
        match self {
            Self::Layout { folder, tag: _ } => Ok(Arc::new(LayoutFolder::new(folder))),
            Self::Registry { reference, tagged: _ } => registries.open(reference).await,
        }
    }

    /// Which image is meant. A layout folder with one image needs no tag.
    pub(crate) async fn selector(&self) -> Result<ManifestSelector, CliError> {
        let (folder, tag) = match self {
            Self::Registry { reference, tagged: _ } => {
                return Ok(match (reference.digest(), reference.tag()) {
                    (Some(digest), _) => ManifestSelector::Digest(digest.clone()),
                    (None, Some(tag)) => ManifestSelector::Tag(tag.clone()),
                    (None, None) => unreachable!("a reference has a tag or a digest"),
                });
            }
            Self::Layout { folder, tag } => (folder, tag),
        };
        if let Some(tag) = tag {
            return Ok(ManifestSelector::Tag(tag.clone()));
        }
        let tags = LayoutFolder::new(folder).names().await?;
        match &tags[..] {
            [tag] => Ok(ManifestSelector::Tag(tag.parse().map_err(|_| ambiguous(folder, &tags))?)),
            _ => Err(ambiguous(folder, &tags)),
        }
    }

    /// The tag that a target asks for; `None` where it leaves that to zstart.
    pub(crate) fn target_tag(&self) -> Result<Option<Tag>, CliError> {
        match self {
            Self::Layout { folder: _, tag } => Ok(tag.clone()),
            Self::Registry { reference, tagged: _ } if reference.digest().is_some() => {
                Err(CliError::TargetDigest { target: reference.to_string() })
            }
            Self::Registry { reference, tagged } => Ok(reference.tag().filter(|_| *tagged).cloned()),
        }
    }
}

impl ManifestSelector {
    /// The tag, where it is one.
    pub(crate) fn tag(&self) -> Option<&Tag> {
        match self {
            Self::Tag(tag) => Some(tag),
            Self::Digest(_) => None,
        }
    }

    /// For the engine.
    pub(crate) fn key(&self) -> zstart_registry::ManifestKey<'_> {
        match self {
            Self::Tag(tag) => zstart_registry::ManifestKey::Tag(tag),
            Self::Digest(digest) => zstart_registry::ManifestKey::Digest(digest),
        }
    }
}

fn ambiguous(folder: &Path, tags: &[String]) -> CliError {
    let found = if tags.is_empty() {
        "no image with a tag".to_owned()
    } else {
        format!("the images {}", tags.join(", "))
    };
    CliError::AmbiguousImage { folder: folder.display().to_string(), found }
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
        let Ok(ImageRef::Registry { reference, tagged }) = "localhost:5000/app".parse() else { panic!() };
        assert_eq!((reference.to_string().as_str(), tagged), ("localhost:5000/app:latest", false));
        assert!(matches!("app:v1".parse(), Ok(ImageRef::Registry { tagged: true, .. })));
        assert!("oci:".parse::<ImageRef>().is_err());
    }
}

//! Opens the places of images.

use std::path::Path;
use std::sync::Arc;

use zstart_core::{Digest, Reference, Tag};
use zstart_registry::{LayoutArchive, LayoutFolder, LayoutImage, LayoutName, ManifestKey, Store};

use super::{ImageRef, LayoutPlace};
use crate::error::CliError;
use crate::registries::Registries;

/// Source image in its opened repository.
pub(crate) struct SourceImage {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) selector: ManifestSelector,
}

/// Tag or digest of an image in its repository.
#[derive(Clone, Debug)]
pub(crate) enum ManifestSelector {
    Tag(Tag),
    Digest(Digest),
}

impl SourceImage {
    /// Opens the repository of a reference.
    pub(crate) async fn of(registries: &Registries<'_>, reference: &Reference) -> Result<Self, CliError> {
        let selector = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => ManifestSelector::Digest(digest.clone()),
            (None, Some(tag)) => ManifestSelector::Tag(tag.clone()),
            (None, None) => unreachable!("a reference has a tag or a digest"),
        };
        Ok(Self { store: registries.open(reference).await?, selector })
    }
}

impl ImageRef {
    /// Opens the repository of a source. The image of a layout is looked up.
    pub(crate) async fn open_source(&self, registries: &Registries<'_>) -> Result<SourceImage, CliError> {
        let (place, selection) = match self {
            Self::Layout { place, selection } => (place, selection),
            Self::Registry { reference, version: _ } => {
                return SourceImage::of(registries, reference).await;
            }
        };
        let failed = |source| CliError::Selection { place: place.to_string(), source };
        Ok(match place {
            LayoutPlace::Folder(folder) => {
                let index = LayoutFolder::new(folder).index().await?;
                let (repository, selector) = selector_of(index.select(selection).map_err(failed)?);
                let store = Arc::new(LayoutFolder::with_repository(folder, repository));
                SourceImage { store, selector }
            }
            LayoutPlace::Archive(file) => {
                let archive = LayoutArchive::open(file).await?;
                let (repository, selector) = selector_of(archive.index().select(selection).map_err(failed)?);
                SourceImage { store: Arc::new(archive.with_repository(repository)), selector }
            }
        })
    }

    /// Opens the repository of a target that the user named.
    pub(crate) async fn open_target(&self, registries: &Registries<'_>) -> Result<Arc<dyn Store>, CliError> {
        let name = self.target_name()?;
        match self {
            Self::Registry { reference, version: _ } => registries.open(reference).await,
            Self::Layout { place: LayoutPlace::Folder(folder), selection: _ } => {
                Ok(folder_store(folder, name.and_then(|name| name.repository)))
            }
            Self::Layout { place: LayoutPlace::Archive(_), selection: _ } => {
                Err(CliError::TargetArchive { target: self.to_string() })
            }
        }
    }
}

fn folder_store(folder: &Path, repository: Option<String>) -> Arc<dyn Store> {
    Arc::new(LayoutFolder::with_repository(folder, repository))
}

/// The repository in a layout and the image there. An image without a name of the form `REPOSITORY:TAG` is
/// selected by its digest, and its variant is named as for a reference with a digest.
fn selector_of(image: LayoutImage) -> (Option<String>, ManifestSelector) {
    match image.name {
        Some(LayoutName { repository, tag }) => (repository, ManifestSelector::Tag(tag)),
        None => (None, ManifestSelector::Digest(image.digest)),
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
    pub(crate) fn key(&self) -> ManifestKey<'_> {
        match self {
            Self::Tag(tag) => ManifestKey::Tag(tag),
            Self::Digest(digest) => ManifestKey::Digest(digest),
        }
    }
}

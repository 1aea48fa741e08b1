//! An OCI image layout folder as a [`Store`].
//!
//! A file is visible only when it is complete. Untouched entries of `index.json` keep their bytes. A writer of
//! `index.json` locks the folder, so that concurrent writers don't undo each other's change.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt as _;
use tokio::fs;
use zstart_core::{Digest, Tag};
use zstart_oci::RawManifest;

use super::files::{chunks, layout_error, manifest_operation, open_regular, read_document, read_manifest};
use super::index_file::{self, INDEX_FILE, LayoutIndex, MARKER_FILE};
use super::name::LayoutName;
use super::selection::{LayoutSelection, SelectionError};
use super::upload::{PartialFile, write_atomically};
use crate::error::RegistryError;
use crate::error_kind::ErrorKind;
use crate::operation::Operation;
use crate::store::{BlobUpload, ByteStream, ManifestKey, Presence, Store};

/// A wait for the folder's lock that is told to the user. Uploads of one conversion take the lock for
/// milliseconds.
const LOCK_NOTICE: Duration = Duration::from_secs(1);

/// An OCI layout folder, or one repository in the folder.
#[derive(Clone, Debug)]
pub struct LayoutFolder {
    folder: PathBuf,
    /// Repository in the images' names; `None` for names that are tags.
    repository: Option<String>,
    location: String,
}

impl LayoutFolder {
    /// The layout in `folder`, which is created when something is stored. Its images are those whose names are
    /// tags.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        Self { location: format!("oci:{}", folder.display()), repository: None, folder }
    }

    /// The images of the layout in `folder` whose names are `REPOSITORY:TAG`, or tags if `repository` is `None`.
    pub fn with_repository(folder: impl Into<PathBuf>, repository: Option<String>) -> Self {
        let all = Self::new(folder);
        match repository {
            Some(repository) => Self {
                location: format!("{}:{repository}", all.location),
                repository: Some(repository),
                ..all
            },
            None => all,
        }
    }

    /// Reads `index.json`.
    pub async fn index(&self) -> Result<LayoutIndex, RegistryError> {
        let failed = |error| self.error(Operation::pull("read", INDEX_FILE), error);
        self.read_index().await.map_err(failed)
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.folder.join("blobs").join(digest.algorithm().as_str()).join(digest.hex())
    }

    /// The path of a blob to be written; creates its folder.
    async fn new_blob_path(&self, digest: &Digest) -> io::Result<PathBuf> {
        let path = self.blob_path(digest);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).await?;
        }
        Ok(path)
    }

    async fn read_index(&self) -> io::Result<LayoutIndex> {
        match fs::metadata(&self.folder).await {
            Ok(found) if !found.is_dir() => {
                let file = self.folder.display();
                let text =
                    format!("{file} is no folder; an archive of a layout is read as oci-archive:{file}");
                return Err(io::Error::new(io::ErrorKind::NotADirectory, text));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = format!("the folder {} doesn't exist", self.folder.display());
                return Err(io::Error::new(io::ErrorKind::NotFound, text));
            }
            _ => {}
        }
        match open_regular(&self.folder.join(MARKER_FILE)).await {
            Ok(file) => index_file::check_marker(&read_document(MARKER_FILE, file).await?)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let file = open_regular(&self.folder.join(INDEX_FILE)).await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                io::Error::new(error.kind(), format!("the folder has no {INDEX_FILE}: it is no OCI layout"))
            }
            _ => error,
        })?;
        let layout = format!("oci:{}", self.folder.display());
        LayoutIndex::parse(&layout, &read_document(INDEX_FILE, file).await?)
    }

    fn name(&self, tag: &Tag) -> LayoutName {
        LayoutName { repository: self.repository.clone(), tag: tag.clone() }
    }

    async fn find(&self, key: ManifestKey<'_>) -> io::Result<Digest> {
        match key {
            ManifestKey::Digest(digest) => Ok(digest.clone()),
            ManifestKey::Tag(tag) => {
                let selection = LayoutSelection::Name(self.name(tag).to_string());
                let image = self.read_index().await?.select(&selection).map_err(selection_error)?;
                Ok(image.digest)
            }
        }
    }

    async fn store_manifest(
        &self,
        manifest: &RawManifest,
        media_type: &str,
        tag: Option<&Tag>,
    ) -> io::Result<()> {
        self.prepare().await?;
        let path = self.new_blob_path(&manifest.digest).await?;
        write_atomically(&path, &manifest.bytes).await?;
        let Some(tag) = tag else { return Ok(()) };
        let _lock = self.lock().await?;
        let mut index = self.read_index().await?;
        let bytes = index
            .put(&self.name(tag), media_type, &manifest.digest, manifest.bytes.len() as u64)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        write_atomically(&self.folder.join(INDEX_FILE), &bytes).await
    }

    /// Creates `oci-layout` and `index.json` if they don't exist.
    async fn prepare(&self) -> io::Result<()> {
        fs::create_dir_all(self.folder.join("blobs").join("sha256")).await?;
        let (marker, index) = (self.folder.join(MARKER_FILE), self.folder.join(INDEX_FILE));
        if fs::try_exists(&marker).await? && fs::try_exists(&index).await? {
            return Ok(());
        }
        let _lock = self.lock().await?;
        if !fs::try_exists(&marker).await? {
            write_atomically(&marker, &index_file::marker()?).await?;
        }
        if !fs::try_exists(&index).await? {
            write_atomically(&index, &index_file::empty_index()?).await?;
        }
        Ok(())
    }

    /// Locks the folder against concurrent writers of `index.json`, until the returned file is dropped.
    async fn lock(&self) -> io::Result<std::fs::File> {
        let folder = self.folder.clone();
        let mut locked = tokio::task::spawn_blocking(move || {
            let locked = std::fs::File::open(&folder)?;
            locked.lock()?;
            Ok(locked)
        });
        if let Ok(locked) = tokio::time::timeout(LOCK_NOTICE, &mut locked).await {
            return locked.map_err(io::Error::other)?;
        }
        tracing::warn!(folder = %self.folder.display(), "waiting for another writer of the layout");
        locked.await.map_err(io::Error::other)?
    }

    fn error(&self, operation: Operation, source: io::Error) -> RegistryError {
        layout_error(operation, &self.location, source)
    }
}

/// A name that selects no image is [`io::ErrorKind::NotFound`].
pub(super) fn selection_error(error: SelectionError) -> io::Error {
    let kind = if error.is_not_found() { io::ErrorKind::NotFound } else { io::ErrorKind::InvalidData };
    io::Error::new(kind, error)
}

/// Tags among the names of a layout that are in a repository.
pub(super) fn tags_in(names: impl Iterator<Item = String>, repository: Option<&str>, max: usize) -> Vec<Tag> {
    let named = names.filter_map(|name| name.parse::<LayoutName>().ok());
    named.filter(|name| name.repository.as_deref() == repository).map(|name| name.tag).take(max).collect()
}

#[async_trait]
impl Store for LayoutFolder {
    fn location(&self) -> &str {
        &self.location
    }

    async fn manifest(&self, key: ManifestKey<'_>) -> Result<RawManifest, RegistryError> {
        let operation = manifest_operation(key);
        let failed = |error: io::Error| self.error(operation.clone(), error);
        let digest = self.find(key).await.map_err(failed)?;
        let file = open_regular(&self.blob_path(&digest)).await.map_err(failed)?;
        read_manifest(&digest, file, failed).await
    }

    async fn tags(&self, max: usize) -> Result<Vec<Tag>, RegistryError> {
        Ok(tags_in(self.index().await?.names(), self.repository.as_deref(), max))
    }

    async fn put_manifest(
        &self,
        manifest: &RawManifest,
        media_type: &str,
        tag: Option<&Tag>,
    ) -> Result<(), RegistryError> {
        let stored = self.store_manifest(manifest, media_type, tag).await;
        stored.map_err(|error| self.error(Operation::push("write manifest", &manifest.digest), error))
    }

    async fn blob(&self, digest: &Digest) -> Result<ByteStream, RegistryError> {
        let (operation, location) = (Operation::pull("read blob", digest), self.location.clone());
        let failed = move |error| layout_error(operation.clone(), &location, error);
        let file = open_regular(&self.blob_path(digest)).await.map_err(&failed)?;
        Ok(chunks(file, failed))
    }

    async fn blob_presence(&self, digest: &Digest) -> Presence {
        match fs::try_exists(self.blob_path(digest)).await {
            Ok(true) => Presence::Present,
            Ok(false) => Presence::Absent,
            Err(_) => Presence::Unknown,
        }
    }

    async fn start_upload(&self) -> Result<Box<dyn BlobUpload>, RegistryError> {
        let failed = |error: io::Error| self.error(Operation::push("begin a blob", ""), error);
        self.prepare().await.map_err(failed)?;
        let path = self.folder.join("blobs").join("sha256").join("new");
        let file = PartialFile::next_to(&path).map_err(failed)?;
        Ok(Box::new(BlobFile { layout: self.clone(), file }))
    }
}

/// A blob in a temporary file, which is deleted unless committed.
struct BlobFile {
    layout: LayoutFolder,
    file: PartialFile,
}

#[async_trait]
impl BlobUpload for BlobFile {
    async fn send(&mut self, mut content: ByteStream) -> Result<(), RegistryError> {
        let failed = |error| self.layout.error(Operation::push("write a blob", ""), error);
        while let Some(chunk) = content.try_next().await? {
            self.file.write(&chunk).await.map_err(failed)?;
        }
        self.file.sync().await.map_err(failed)
    }

    async fn commit(self: Box<Self>, digest: &Digest) -> Result<(), RegistryError> {
        let Self { layout, file } = *self;
        let failed = |error: io::Error| layout.error(Operation::push("write blob", digest), error);
        let found = file.digest(digest.algorithm()).await.map_err(failed)?;
        if &found != digest {
            let error = failed(io::Error::other(format!("the content has digest {found}")));
            return Err(RegistryError { kind: ErrorKind::ContentMismatch, ..error });
        }
        let destination = layout.new_blob_path(digest).await.map_err(failed)?;
        file.persist(&destination).map_err(failed)
    }

    async fn abort(self: Box<Self>) {}
}

#[cfg(test)]
mod tests;

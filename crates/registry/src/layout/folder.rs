//! An OCI image layout folder as a [`Store`].
//!
//! A file is visible only when it is complete. Untouched entries of `index.json` keep their bytes. A writer of
//! `index.json` locks the folder, so that concurrent writers don't undo each other's change.

use std::io;
use std::path::PathBuf;

use async_trait::async_trait;
use futures::TryStreamExt as _;
use tokio::fs::{self, File};
use zstart_core::{Digest, Tag};
use zstart_oci::RawManifest;

use super::files::{chunks, layout_error, manifest_operation, read_document, read_manifest};
use super::index_file::{self, INDEX_FILE, LayoutIndex, MARKER_FILE};
use super::name::LayoutName;
use super::selection::{LayoutSelection, SelectionError};
use super::upload::{PartialFile, write_atomically};
use crate::error::RegistryError;
use crate::error_kind::ErrorKind;
use crate::operation::Operation;
use crate::store::{BlobUpload, ByteStream, ManifestKey, Store};

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

    /// Lists the names in `index.json`, in order.
    pub async fn names(&self) -> Result<Vec<String>, RegistryError> {
        Ok(self.index().await?.names().collect())
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
        match File::open(self.folder.join(MARKER_FILE)).await {
            Ok(file) => index_file::check_marker(&read_document(MARKER_FILE, file).await?)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let file = File::open(self.folder.join(INDEX_FILE)).await.map_err(|error| match error.kind() {
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
        let locked = tokio::task::spawn_blocking(move || {
            let folder = std::fs::File::open(folder)?;
            folder.lock()?;
            Ok(folder)
        });
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
        let file = File::open(self.blob_path(&digest)).await.map_err(failed)?;
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
        let file = File::open(self.blob_path(digest)).await.map_err(&failed)?;
        Ok(chunks(file, failed))
    }

    async fn has_blob(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let exists = fs::try_exists(self.blob_path(digest)).await;
        exists.map_err(|error| self.error(Operation::push("look for blob", digest), error))
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
mod tests {
    use std::path::Path;

    use futures::stream;
    use sha2::{Digest as _, Sha512};
    use zstart_oci::media_type;

    use super::*;

    #[tokio::test]
    async fn tag_names_the_newest_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let layout = LayoutFolder::new(folder.path());
        let tag: Tag = "v1".parse().unwrap();
        for text in [r#"{"layers":[]}"#, r#"{"layers":[ ]}"#] {
            let manifest = RawManifest::new(text.into());
            layout.put_manifest(&manifest, media_type::OCI_MANIFEST, Some(&tag)).await.unwrap();
            assert_eq!(layout.manifest(ManifestKey::Tag(&tag)).await.unwrap().digest, manifest.digest);
        }
        assert_eq!(layout.names().await.unwrap(), ["v1"]);
    }

    #[tokio::test]
    async fn blob_is_invisible_until_committed_under_its_digest() {
        let folder = tempfile::tempdir().unwrap();
        let layout = LayoutFolder::new(folder.path());
        let content = || Box::pin(stream::iter([Ok("content".into())]));
        let digest = Digest::sha256_of(b"content");

        let mut upload = layout.start_upload().await.unwrap();
        upload.send(content()).await.unwrap();
        drop(upload);
        let mut upload = layout.start_upload().await.unwrap();
        upload.send(content()).await.unwrap();
        let error = upload.commit(&Digest::sha256_of(b"other")).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::ContentMismatch);
        assert!(!layout.has_blob(&digest).await.unwrap());
        assert_eq!(std::fs::read_dir(folder.path().join("blobs/sha256")).unwrap().count(), 0);

        let mut upload = layout.start_upload().await.unwrap();
        upload.send(content()).await.unwrap();
        upload.commit(&digest).await.unwrap();
        let read: Vec<bytes::Bytes> = layout.blob(&digest).await.unwrap().try_collect().await.unwrap();
        assert_eq!(read.concat(), b"content");
    }

    #[tokio::test]
    async fn sha512_content_is_stored_and_compared() {
        let folder = tempfile::tempdir().unwrap();
        let layout = LayoutFolder::new(folder.path());
        let digest = |text: &str| Digest::from_sha512(Sha512::digest(text).into());
        let content = || Box::pin(stream::iter([Ok("content".into())]));
        let mut upload = layout.start_upload().await.unwrap();
        upload.send(content()).await.unwrap();
        upload.commit(&digest("content")).await.unwrap();
        assert!(layout.has_blob(&digest("content")).await.unwrap());
        let mut upload = layout.start_upload().await.unwrap();
        upload.send(content()).await.unwrap();
        let error = upload.commit(&digest("other")).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::ContentMismatch);

        let manifest = RawManifest { digest: digest("{}"), ..RawManifest::new("{}".into()) };
        layout.put_manifest(&manifest, media_type::OCI_MANIFEST, None).await.unwrap();
        let read = layout.manifest(ManifestKey::Digest(&manifest.digest)).await.unwrap();
        assert_eq!(read.bytes, manifest.bytes);
    }

    #[tokio::test]
    async fn error_names_missing_tags_and_damaged_manifests() {
        let folder = tempfile::tempdir().unwrap();
        let layout = LayoutFolder::new(folder.path());
        let tag: Tag = "v1".parse().unwrap();
        let missing = layout.manifest(ManifestKey::Tag(&tag)).await.unwrap_err();
        assert_eq!(missing.kind, ErrorKind::NotFound);

        let manifest = RawManifest::new("{}".into());
        layout.put_manifest(&manifest, media_type::OCI_MANIFEST, Some(&tag)).await.unwrap();
        let other: Tag = "v2".parse().unwrap();
        let missing = layout.manifest(ManifestKey::Tag(&other)).await.unwrap_err().chain();
        assert!(missing.contains("names no image \"v2\""), "{missing}");

        std::fs::write(layout.blob_path(&manifest.digest), "{ }").unwrap();
        let damaged = layout.manifest(ManifestKey::Tag(&tag)).await.unwrap_err();
        assert_eq!(damaged.kind, ErrorKind::ContentMismatch);
    }

    #[tokio::test]
    async fn repository_shows_and_writes_its_own_names_only() {
        let folder = tempfile::tempdir().unwrap();
        let named = |repository: Option<&str>| {
            LayoutFolder::with_repository(folder.path(), repository.map(str::to_owned))
        };
        let (plain, rancher) = (named(None), named(Some("rancher/local")));
        let (tag, other): (Tag, Tag) = ("v1".parse().unwrap(), "v2".parse().unwrap());
        let manifests = [r#"{"a":1}"#, r#"{"a":2}"#].map(|text| RawManifest::new(text.into()));
        plain.put_manifest(&manifests[0], media_type::OCI_MANIFEST, Some(&tag)).await.unwrap();
        rancher.put_manifest(&manifests[1], media_type::OCI_MANIFEST, Some(&tag)).await.unwrap();
        assert_eq!(plain.names().await.unwrap(), ["v1", "rancher/local:v1"]);
        for (store, manifest) in [(&plain, &manifests[0]), (&rancher, &manifests[1])] {
            assert_eq!(store.tags(10).await.unwrap(), std::slice::from_ref(&tag));
            assert_eq!(store.manifest(ManifestKey::Tag(&tag)).await.unwrap().digest, manifest.digest);
            assert!(store.find_manifest(ManifestKey::Tag(&other)).await.unwrap().is_none());
        }
        assert_eq!(rancher.location(), format!("oci:{}:rancher/local", folder.path().display()));
    }

    #[tokio::test]
    async fn layout_without_its_marker_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (layout, tag) = (LayoutFolder::new(folder.path()), "v1".parse().unwrap());
        let manifest = RawManifest::new("{}".into());
        layout.put_manifest(&manifest, media_type::OCI_MANIFEST, Some(&tag)).await.unwrap();
        std::fs::remove_file(folder.path().join("oci-layout")).unwrap();
        assert_eq!(layout.manifest(ManifestKey::Tag(&tag)).await.unwrap().digest, manifest.digest);
        // A writer adds it again.
        layout.put_manifest(&manifest, media_type::OCI_MANIFEST, None).await.unwrap();
        assert!(folder.path().join("oci-layout").is_file());
    }

    #[tokio::test]
    async fn folder_that_is_no_layout_is_named_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let index = async |path: &Path| LayoutFolder::new(path).index().await.unwrap_err().chain();
        let missing = index(&folder.path().join("missing")).await;
        assert!(missing.contains("missing doesn't exist"), "{missing}");
        let empty = index(folder.path()).await;
        assert!(empty.contains("no index.json: it is no OCI layout"), "{empty}");
        std::fs::write(folder.path().join("index.json"), vec![b' '; zstart_oci::MANIFEST_MAX + 1]).unwrap();
        let huge = index(folder.path()).await;
        assert!(huge.contains("index.json exceeds the limit of 4194304 bytes"), "{huge}");
        std::fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion":"3"}"#).unwrap();
        let version = index(folder.path()).await;
        assert!(version.contains("has version \"3\""), "{version}");
        let file = index(&folder.path().join("index.json")).await;
        assert!(file.contains("is read as oci-archive:"), "{file}");
    }
}

//! A tar archive of an OCI image layout as a [`Store`] to read from, without unpacking the archive.
//!
//! `docker buildx build -o type=oci`, `docker save`, `skopeo copy … oci-archive:FILE` and `podman save
//! --format oci-archive` write such archives. The headers are read once; blobs are read at their offsets. An
//! archive that changes meanwhile is found out by digests.

use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, Take};
use zstart_core::{Digest, Tag};
use zstart_oci::RawManifest;

use super::files::{chunks, layout_error, manifest_operation, read_document, read_manifest};
use super::folder::{selection_error, tags_in};
use super::index_file::{self, INDEX_FILE, LayoutIndex, MARKER_FILE};
use super::name::LayoutName;
use super::selection::LayoutSelection;
use super::tar::{DOCKER_MANIFEST, TarIndex, blob_name};
use crate::error::RegistryError;
use crate::error_kind::ErrorKind;
use crate::operation::Operation;
use crate::store::{BlobUpload, ByteStream, ManifestKey, Presence, Store};

/// A tar archive of an OCI layout, or one repository in the archive. Nothing can be stored there.
#[derive(Clone, Debug)]
pub struct LayoutArchive {
    file: PathBuf,
    files: Arc<TarIndex>,
    index: Arc<LayoutIndex>,
    /// Repository in the images' names; `None` for names that are tags.
    repository: Option<String>,
    location: String,
}

impl LayoutArchive {
    /// Opens an archive: reads its headers and `index.json`. Its images are those whose names are tags.
    pub async fn open(file: impl Into<PathBuf>) -> Result<Self, RegistryError> {
        let file = file.into();
        let location = format!("oci-archive:{}", file.display());
        match Self::read(file, &location).await {
            Ok((file, files, index)) => {
                Ok(Self { file, files: Arc::new(files), index: Arc::new(index), repository: None, location })
            }
            Err(error) => Err(layout_error(Operation::pull("read archive", ""), &location, error)),
        }
    }

    async fn read(file: PathBuf, location: &str) -> io::Result<(PathBuf, TarIndex, LayoutIndex)> {
        let (file, files) = tokio::task::spawn_blocking(move || {
            let files = read_headers(&file)?;
            Ok::<_, io::Error>((file, files))
        })
        .await
        .map_err(io::Error::other)??;
        match open_file(&file, &files, MARKER_FILE).await {
            Ok(content) => index_file::check_marker(&read_document(MARKER_FILE, content).await?)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let content = open_file(&file, &files, INDEX_FILE).await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => no_index(&files),
            _ => error,
        })?;
        let index = LayoutIndex::parse(location, &read_document(INDEX_FILE, content).await?)?;
        Ok((file, files, index))
    }

    /// The images of this archive whose names are `REPOSITORY:TAG`, or tags if `repository` is `None`.
    #[must_use]
    pub fn with_repository(self, repository: Option<String>) -> Self {
        let location = match &repository {
            Some(repository) => format!("oci-archive:{}:{repository}", self.file.display()),
            None => format!("oci-archive:{}", self.file.display()),
        };
        Self { repository, location, ..self }
    }

    /// `index.json`.
    pub fn index(&self) -> &LayoutIndex {
        &self.index
    }

    fn find(&self, key: ManifestKey<'_>) -> io::Result<Digest> {
        match key {
            ManifestKey::Digest(digest) => Ok(digest.clone()),
            ManifestKey::Tag(tag) => {
                let name = LayoutName { repository: self.repository.clone(), tag: tag.clone() };
                let selection = LayoutSelection::Name(name.to_string());
                Ok(self.index.select(&selection).map_err(selection_error)?.digest)
            }
        }
    }

    async fn open_blob(&self, digest: &Digest) -> io::Result<Take<File>> {
        open_file(&self.file, &self.files, &blob_name(digest)).await
    }

    fn read_only(&self, operation: Operation) -> RegistryError {
        let source = "an archive is only read; write to a folder (oci:FOLDER) or a registry";
        RegistryError::new(operation, &self.location, ErrorKind::Other, source)
    }
}

fn read_headers(path: &Path) -> io::Result<TarIndex> {
    // Opening a named pipe would wait for a writer.
    let found = std::fs::metadata(path)?;
    let refused = |text: String| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    if found.is_dir() {
        return refused(format!("{0} is a folder; a layout folder is read as oci:{0}", path.display()));
    }
    if !found.is_file() {
        return refused(
            "a pipe or device can't be read at offsets; write the archive to a file first".to_owned(),
        );
    }
    TarIndex::read(std::fs::File::open(path)?, found.len())
}

/// Opens the content of a file in the archive.
async fn open_file(archive: &Path, files: &TarIndex, name: &str) -> io::Result<Take<File>> {
    let extent = files.file(name)?;
    let mut file = File::open(archive).await?;
    file.seek(SeekFrom::Start(extent.offset)).await?;
    Ok(file.take(extent.size))
}

/// The error of an archive without `index.json`.
fn no_index(files: &TarIndex) -> io::Error {
    let text = if files.file(DOCKER_MANIFEST).is_ok() {
        "the archive has no index.json: `docker save` of an old version wrote it; convert it with \
         `skopeo copy docker-archive:FILE oci:FOLDER` and name the folder"
    } else {
        "the archive has no index.json at its top: it is no OCI layout"
    };
    io::Error::new(io::ErrorKind::NotFound, text)
}

#[async_trait]
impl Store for LayoutArchive {
    fn location(&self) -> &str {
        &self.location
    }

    async fn manifest(&self, key: ManifestKey<'_>) -> Result<RawManifest, RegistryError> {
        let operation = manifest_operation(key);
        let failed = |error: io::Error| layout_error(operation.clone(), &self.location, error);
        let digest = self.find(key).map_err(failed)?;
        let content = self.open_blob(&digest).await.map_err(failed)?;
        read_manifest(&digest, content, failed).await
    }

    async fn tags(&self, max: usize) -> Result<Vec<Tag>, RegistryError> {
        Ok(tags_in(self.index.names(), self.repository.as_deref(), max))
    }

    async fn put_manifest(
        &self,
        manifest: &RawManifest,
        _media_type: &str,
        _tag: Option<&Tag>,
    ) -> Result<(), RegistryError> {
        Err(self.read_only(Operation::push("write manifest", &manifest.digest)))
    }

    async fn blob(&self, digest: &Digest) -> Result<ByteStream, RegistryError> {
        let (operation, location) = (Operation::pull("read blob", digest), self.location.clone());
        let failed = move |error| layout_error(operation.clone(), &location, error);
        let content = self.open_blob(digest).await.map_err(&failed)?;
        Ok(chunks(content, failed))
    }

    async fn blob_presence(&self, digest: &Digest) -> Presence {
        match self.files.file(&blob_name(digest)) {
            Ok(_) => Presence::Present,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Presence::Absent,
            Err(_) => Presence::Unknown,
        }
    }

    async fn start_upload(&self) -> Result<Box<dyn BlobUpload>, RegistryError> {
        Err(self.read_only(Operation::push("begin a blob", "")))
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;
    use zstart_oci::media_type;

    use super::super::tar::tests::entry;
    use super::*;

    #[tokio::test]
    async fn archive_is_read_at_offsets_and_never_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("layout.tar");
        let manifest = RawManifest::new("{}".into());
        let index = serde_json::json!({"manifests": [{
            "mediaType": media_type::OCI_MANIFEST, "digest": manifest.digest, "size": 2,
            "annotations": {"org.opencontainers.image.ref.name": "rancher/local:v1"},
        }]});
        let (blob, tag) = (Digest::sha256_of(b"blob"), "v1".parse().unwrap());
        let bytes = [
            entry(INDEX_FILE, b'0', index.to_string().as_bytes()),
            entry(&blob_name(&manifest.digest), b'0', &manifest.bytes),
            entry(&blob_name(&blob), b'0', b"blob"),
        ]
        .concat();
        std::fs::write(&file, &bytes).unwrap();
        let archive = LayoutArchive::open(&file).await.unwrap();
        assert!(archive.find_manifest(ManifestKey::Tag(&tag)).await.unwrap().is_none());
        let archive = archive.with_repository(Some("rancher/local".to_owned()));
        assert_eq!(archive.location(), format!("oci-archive:{}:rancher/local", file.display()));
        assert_eq!(archive.tags(10).await.unwrap(), std::slice::from_ref(&tag));
        assert_eq!(archive.manifest(ManifestKey::Tag(&tag)).await.unwrap().digest, manifest.digest);
        let read: Vec<bytes::Bytes> = archive.blob(&blob).await.unwrap().try_collect().await.unwrap();
        assert_eq!(read.concat(), b"blob");
        let missing = Digest::sha256_of(b"missing");
        assert_eq!(archive.blob_presence(&blob).await, Presence::Present);
        assert_eq!(archive.blob_presence(&missing).await, Presence::Absent);
        assert_eq!(archive.blob(&missing).await.err().unwrap().kind, ErrorKind::NotFound);

        let refused = [
            archive.put_manifest(&manifest, media_type::OCI_MANIFEST, Some(&tag)).await.unwrap_err(),
            archive.put_blob(&blob, "blob".into()).await.unwrap_err(),
        ];
        for error in refused {
            assert!(error.chain().contains("an archive is only read"), "{}", error.chain());
        }
        assert_eq!(std::fs::read(&file).unwrap(), bytes);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn device_is_no_archive() {
        let error = LayoutArchive::open("/dev/null").await.unwrap_err().chain();
        assert!(error.contains("write the archive to a file first"), "{error}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn named_pipe_without_a_writer_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("layout.tar");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let error = LayoutArchive::open(&pipe).await.unwrap_err().chain();
        assert!(error.contains("write the archive to a file first"), "{error}");
    }
}

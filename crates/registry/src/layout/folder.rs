//! An OCI image layout folder (OCI image specification, `image-layout.md`) as a [`Store`].
//!
//! A file is visible only when it is complete: blobs and `index.json` are written to a temporary file and
//! renamed. Untouched entries of `index.json` keep their bytes. A writer of `index.json` locks the folder, so
//! that concurrent writers don't undo each other's change.

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use futures::TryStreamExt as _;
use futures::stream;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};
use tempfile::NamedTempFile;
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use zstart_core::digest::Algorithm;
use zstart_core::{Digest, Tag};

use crate::error::RegistryError;
use crate::error_kind::ErrorKind;
use crate::operation::Operation;
use crate::store::{BlobUpload, ByteStream, ManifestKey, Store};
use zstart_oci::{Descriptor, MANIFEST_MAX, RawManifest, RawObject, media_type};

/// The annotation that holds an entry's tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Bytes of a blob that are read at once.
const READ_CHUNK: usize = 256 * 1024;

/// An OCI image layout folder.
#[derive(Clone, Debug)]
pub struct LayoutFolder {
    folder: PathBuf,
    location: String,
}

/// `index.json`, with unknown members kept.
struct IndexFile {
    object: RawObject,
    entries: Vec<Descriptor>,
}

#[derive(Serialize, Deserialize)]
struct LayoutFile {
    #[serde(rename = "imageLayoutVersion")]
    version: String,
}

impl LayoutFolder {
    /// The layout in `folder`, which is created when something is stored.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        Self { location: format!("oci:{}", folder.display()), folder }
    }

    /// Lists the tags in `index.json`, in order.
    pub async fn names(&self) -> Result<Vec<String>, RegistryError> {
        let tags =
            self.read_index().await.map_err(|error| self.error(Operation::pull("list tags", ""), error))?;
        let names = tags.entries.iter().filter_map(|entry| entry.annotations().ok()?.remove(REF_NAME));
        Ok(names.collect())
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

    async fn read_index(&self) -> io::Result<IndexFile> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let object = RawObject::parse(&fs::read(self.folder.join("index.json")).await?).map_err(invalid)?;
        Ok(IndexFile { entries: object.require("manifests").map_err(invalid)?, object })
    }

    async fn find(&self, key: ManifestKey<'_>) -> io::Result<Digest> {
        let tag = match key {
            ManifestKey::Digest(digest) => return Ok(digest.clone()),
            ManifestKey::Tag(tag) => tag,
        };
        let index = self.read_index().await?;
        let named = |entry: &&Descriptor| {
            entry
                .annotations()
                .is_ok_and(|annotations| annotations.get(REF_NAME).is_some_and(|name| name == tag.as_str()))
        };
        index.entries.iter().find(named).map(|entry| entry.digest().clone()).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("index.json names no image {tag:?}", tag = tag.as_str()),
            )
        })
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
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let mut index = self.read_index().await?;
        index.entries.retain(|entry| {
            !entry.annotations().is_ok_and(|all| all.get(REF_NAME).is_some_and(|name| name == tag.as_str()))
        });
        let mut entry = Descriptor::new(media_type, manifest.digest.clone(), manifest.bytes.len() as u64)
            .map_err(invalid)?;
        entry.annotate(REF_NAME, tag.as_str()).map_err(invalid)?;
        index.entries.push(entry);
        index.object.set("manifests", &index.entries).map_err(invalid)?;
        write_atomically(&self.folder.join("index.json"), &index.object.to_bytes().map_err(invalid)?).await
    }

    /// Creates `oci-layout` and `index.json` if they don't exist.
    async fn prepare(&self) -> io::Result<()> {
        fs::create_dir_all(self.folder.join("blobs").join("sha256")).await?;
        let (marker, index) = (self.folder.join("oci-layout"), self.folder.join("index.json"));
        if fs::try_exists(&marker).await? && fs::try_exists(&index).await? {
            return Ok(());
        }
        let _lock = self.lock().await?;
        if !fs::try_exists(&marker).await? {
            let layout = serde_json::to_vec(&LayoutFile { version: "1.0.0".to_owned() })?;
            write_atomically(&marker, &layout).await?;
        }
        if !fs::try_exists(&index).await? {
            let empty = serde_json::json!({
                "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": []
            });
            write_atomically(&index, &serde_json::to_vec(&empty)?).await?;
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
        let kind = match source.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            _ => ErrorKind::Other,
        };
        RegistryError::new(operation, &self.location, kind, source)
    }
}

/// Writes a file atomically: to a temporary file, which is then renamed.
async fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (file, temporary) = temporary_file(path)?;
    let mut file = File::from_std(file);
    file.write_all(bytes).await?;
    sync(&mut file).await?;
    temporary.persist(path)?;
    Ok(())
}

/// Waits until all written bytes are on the disk.
async fn sync(file: &mut File) -> io::Result<()> {
    // tokio writes in the background. `flush` reports how that went, `sync_all` doesn't.
    file.flush().await?;
    file.sync_all().await
}

async fn sha512_of(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path).await?;
    let (mut hash, mut buffer) = (Sha512::new(), vec![0; READ_CHUNK]);
    loop {
        match file.read(&mut buffer).await? {
            0 => return Ok(Digest::from_sha512(hash.finalize().into())),
            count => hash.update(&buffer[..count]),
        }
    }
}

fn temporary_file(path: &Path) -> io::Result<(std::fs::File, tempfile::TempPath)> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".zstart-");
    // The default of 0600 would keep other users from reading the layout.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    builder.tempfile_in(parent).map(NamedTempFile::into_parts)
}

#[async_trait]
impl Store for LayoutFolder {
    fn location(&self) -> &str {
        &self.location
    }

    async fn manifest(&self, key: ManifestKey<'_>) -> Result<RawManifest, RegistryError> {
        let operation = match key {
            ManifestKey::Tag(tag) => Operation::pull("read image", tag),
            ManifestKey::Digest(digest) => Operation::pull("read manifest", digest),
        };
        let failed = |error: io::Error| self.error(operation.clone(), error);
        let digest = self.find(key).await.map_err(failed)?;
        let file = File::open(self.blob_path(&digest)).await.map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(MANIFEST_MAX as u64 + 1).read_to_end(&mut bytes).await.map_err(failed)?;
        let manifest = RawManifest::new(bytes.into());
        if digest.matches(&manifest.bytes) {
            return Ok(manifest);
        }
        let found = format!("the file holds {} instead, or more than {MANIFEST_MAX} bytes", manifest.digest);
        Err(RegistryError { kind: ErrorKind::ContentMismatch, ..failed(io::Error::other(found)) })
    }

    async fn tags(&self, max: usize) -> Result<Vec<Tag>, RegistryError> {
        let names = self.names().await?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).take(max).collect())
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
        let operation = Operation::pull("read blob", digest);
        let opened = File::open(self.blob_path(digest)).await;
        let file = opened.map_err(|error| self.error(operation.clone(), error))?;
        let chunks = stream::try_unfold(file, |mut file| async move {
            let mut chunk = bytes::BytesMut::with_capacity(READ_CHUNK);
            let count = file.read_buf(&mut chunk).await?;
            Ok::<_, io::Error>((count > 0).then(|| (chunk.freeze(), file)))
        });
        let layout = self.clone();
        // A file that was opened and can't be read on may be readable again, e.g. on a network file system.
        let failed = move |error| {
            let error = layout.error(operation.clone(), error);
            RegistryError { kind: ErrorKind::Unavailable, ..error }
        };
        Ok(Box::pin(chunks.map_err(failed)))
    }

    async fn has_blob(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let exists = fs::try_exists(self.blob_path(digest)).await;
        exists.map_err(|error| self.error(Operation::push("look for blob", digest), error))
    }

    async fn start_upload(&self) -> Result<Box<dyn BlobUpload>, RegistryError> {
        let failed = |error: io::Error| self.error(Operation::push("begin a blob", ""), error);
        self.prepare().await.map_err(failed)?;
        let (file, path) =
            temporary_file(&self.folder.join("blobs").join("sha256").join("new")).map_err(failed)?;
        Ok(Box::new(BlobFile { layout: self.clone(), file: File::from_std(file), path, hash: Sha256::new() }))
    }
}

/// A blob in a temporary file, which is deleted unless committed.
struct BlobFile {
    layout: LayoutFolder,
    file: File,
    path: tempfile::TempPath,
    hash: Sha256,
}

#[async_trait]
impl BlobUpload for BlobFile {
    async fn send(&mut self, mut content: ByteStream) -> Result<(), RegistryError> {
        let failed = |error| self.layout.error(Operation::push("write a blob", ""), error);
        while let Some(chunk) = content.try_next().await? {
            self.hash.update(&chunk);
            self.file.write_all(&chunk).await.map_err(failed)?;
        }
        sync(&mut self.file).await.map_err(failed)
    }

    async fn commit(self: Box<Self>, digest: &Digest) -> Result<(), RegistryError> {
        let Self { layout, file: _, path, hash } = *self;
        let failed = |error: io::Error| layout.error(Operation::push("write blob", digest), error);
        let found = match digest.algorithm() {
            Algorithm::Sha256 => Digest::from_sha256(hash.finalize().into()),
            // Rare, so the file is read again rather than every blob hashed twice.
            Algorithm::Sha512 => sha512_of(&path).await.map_err(failed)?,
        };
        if &found != digest {
            let error = failed(io::Error::other(format!("the content has digest {found}")));
            return Err(RegistryError { kind: ErrorKind::ContentMismatch, ..error });
        }
        let destination = layout.new_blob_path(digest).await.map_err(failed)?;
        path.persist(destination).map_err(|error| failed(error.error))
    }

    async fn abort(self: Box<Self>) {}
}

#[cfg(test)]
mod tests {
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

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn full_disk_is_reported_for_the_last_bytes() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut file = File::from_std(full);
        file.write_all(b"the last bytes").await.unwrap();
        assert_eq!(sync(&mut file).await.unwrap_err().kind(), io::ErrorKind::StorageFull);
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
}

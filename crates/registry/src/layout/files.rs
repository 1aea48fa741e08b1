//! Reading the files of layouts: bounded documents, and blobs in chunks.

use std::io;
use std::path::Path;

use futures::{TryStreamExt as _, stream};
use tokio::fs::{self, File};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use zstart_core::Digest;
use zstart_oci::{MANIFEST_MAX, RawManifest};

use crate::error::RegistryError;
use crate::error_kind::ErrorKind;
use crate::operation::Operation;
use crate::store::{ByteStream, ManifestKey};

/// Bytes of a blob that are read at once.
pub(super) const READ_CHUNK: usize = 256 * 1024;

/// The error of an operation on a layout.
pub(super) fn layout_error(operation: Operation, location: &str, source: io::Error) -> RegistryError {
    let kind = match source.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        _ => ErrorKind::Other,
    };
    RegistryError::new(operation, location, kind, source)
}

/// The operation that reads a manifest.
pub(super) fn manifest_operation(key: ManifestKey<'_>) -> Operation {
    match key {
        ManifestKey::Tag(tag) => Operation::pull("read image", tag),
        ManifestKey::Digest(digest) => Operation::pull("read manifest", digest),
    }
}

/// Opens a file of a layout. Opening a named pipe would wait for a writer, so the kind is looked at first.
pub(super) async fn open_regular(path: &Path) -> io::Result<File> {
    if fs::metadata(path).await?.is_file() {
        return File::open(path).await;
    }
    let text = format!("{} is no regular file", path.display());
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

/// Reads a whole document of at most [`MANIFEST_MAX`] bytes.
pub(super) async fn read_document(name: &str, file: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MANIFEST_MAX as u64 + 1).read_to_end(&mut bytes).await?;
    if bytes.len() > MANIFEST_MAX {
        let text = format!("{name} exceeds the limit of {MANIFEST_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(bytes)
}

/// Reads a manifest and compares it with its digest.
pub(super) async fn read_manifest(
    digest: &Digest,
    file: impl AsyncRead + Unpin,
    failed: impl Fn(io::Error) -> RegistryError,
) -> Result<RawManifest, RegistryError> {
    let manifest = RawManifest::new(read_document("the manifest", file).await.map_err(&failed)?.into());
    if digest.matches(&manifest.bytes) {
        return Ok(manifest);
    }
    let found = format!("the file holds {} instead", manifest.digest);
    Err(RegistryError { kind: ErrorKind::ContentMismatch, ..failed(io::Error::other(found)) })
}

/// Reads a blob in chunks.
pub(super) fn chunks(
    file: impl AsyncRead + Send + Unpin + 'static,
    failed: impl Fn(io::Error) -> RegistryError + Send + 'static,
) -> ByteStream {
    let chunks = stream::try_unfold(file, |mut file| async move {
        let mut chunk = bytes::BytesMut::with_capacity(READ_CHUNK);
        let count = file.read_buf(&mut chunk).await?;
        Ok::<_, io::Error>((count > 0).then(|| (chunk.freeze(), file)))
    });
    // A file that was opened and can't be read on may be readable again, e.g. on a network file system.
    Box::pin(chunks.map_err(move |error| RegistryError { kind: ErrorKind::Unavailable, ..failed(error) }))
}

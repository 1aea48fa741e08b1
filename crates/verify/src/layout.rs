//! An image in an OCI image layout folder (OCI image specification, `image-layout.md`).

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use tokio::sync::mpsc;

use crate::digest::Digest;
use crate::reader::{BlobStream, DOCUMENT_MAX, ImageReader, ReadError, ReadErrorKind};

/// Bytes of a file that are read at once.
const PIECE_BYTES: usize = 256 * 1024;

/// An image in a layout folder.
#[derive(Clone, Debug)]
pub struct LayoutImage {
    folder: PathBuf,
    digest: Digest,
}

impl LayoutImage {
    /// Image of this digest in a layout folder.
    pub fn new(folder: impl Into<PathBuf>, digest: Digest) -> Self {
        Self { folder: folder.into(), digest }
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join("blobs").join(digest.algorithm_name()).join(digest.hex())
    }
}

#[async_trait]
impl ImageReader for LayoutImage {
    async fn top(&self) -> Result<Bytes, ReadError> {
        self.manifest(&self.digest).await
    }

    fn pinned(&self) -> Option<&Digest> {
        Some(&self.digest)
    }

    async fn manifest(&self, digest: &Digest) -> Result<Bytes, ReadError> {
        let path = self.path(digest);
        let operation = format!("read {}", path.display());
        tokio::task::spawn_blocking(move || read_document(&path))
            .await
            .map_err(|error| ReadError::new(ReadErrorKind::Other, operation, error))?
    }

    async fn blob(&self, digest: &Digest) -> Result<BlobStream, ReadError> {
        let path = self.path(digest);
        let mut file = File::open(&path).map_err(|error| file_error(&path, error))?;
        let (sender, receiver) = mpsc::channel(2);
        tokio::task::spawn_blocking(move || {
            loop {
                let mut piece = vec![0; PIECE_BYTES];
                let piece = match file.read(&mut piece) {
                    Ok(0) => return,
                    Ok(count) => {
                        piece.truncate(count);
                        Ok(Bytes::from(piece))
                    }
                    Err(error) => Err(file_error(&path, error)),
                };
                let is_last = piece.is_err();
                if sender.blocking_send(piece).is_err() || is_last {
                    return;
                }
            }
        });
        Ok(Box::pin(stream::unfold(receiver, async |mut receiver: mpsc::Receiver<_>| {
            receiver.recv().await.map(|piece| (piece, receiver))
        })))
    }
}

/// Reads a file of at most [`DOCUMENT_MAX`] bytes and one more, which shows the caller that there are too many.
fn read_document(path: &Path) -> Result<Bytes, ReadError> {
    let read = || -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        File::open(path)?.take(DOCUMENT_MAX + 1).read_to_end(&mut content)?;
        Ok(content)
    };
    read().map(Bytes::from).map_err(|error| file_error(path, error))
}

fn file_error(path: &Path, error: io::Error) -> ReadError {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => ReadErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => ReadErrorKind::Denied,
        _ => ReadErrorKind::Other,
    };
    ReadError::new(kind, format!("read {}", path.display()), error)
}

//! Access to the documents and blobs of one image.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde::Serialize;
use thiserror::Error;

use crate::digest::Digest;
use crate::fault::ContentFault;

/// Limit of manifests, indexes and configs: 4 MiB, what a registry must accept of a manifest at most
/// (distribution specification, "Pushing Manifests").
pub(crate) const DOCUMENT_MAX: u64 = 4 << 20;

/// A blob's bytes, in the pieces in which they arrive.
pub type BlobStream = BoxStream<'static, Result<Bytes, ReadError>>;

/// An image in a registry or layout folder.
///
/// Implementations check nothing that the comparison checks: digests, sizes, formats.
#[async_trait]
pub trait ImageReader: Send + Sync {
    /// Reads the manifest or index that the image's reference names.
    async fn top(&self) -> Result<Bytes, ReadError>;

    /// Digest in the image's reference. `None` if the reference is a tag.
    fn pinned(&self) -> Option<&Digest>;

    /// Reads a manifest of the image's repository.
    async fn manifest(&self, digest: &Digest) -> Result<Bytes, ReadError>;

    /// Reads a blob of the image's repository.
    async fn blob(&self, digest: &Digest) -> Result<BlobStream, ReadError>;
}

/// One of the two images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Side {
    /// The image that was converted.
    Source,
    /// The result of the conversion.
    Variant,
}

impl Side {
    /// Word for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Variant => "variant",
        }
    }
}

/// An image can't be read.
#[derive(Debug, Error)]
#[error("failed to {operation}")]
pub struct ReadError {
    /// Class of the failure.
    pub kind: ReadErrorKind,
    operation: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Class of a failure to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadErrorKind {
    /// The image, manifest or blob doesn't exist.
    NotFound,
    /// The registry refuses the credentials, or asks for some.
    Denied,
    /// The registry can't be reached, fails, or limits the rate of requests.
    Unavailable,
    /// The reader found that the content isn't the requested one.
    Content,
    /// Anything else, e.g. a file without read permission.
    Other,
}

impl ReadError {
    /// Creates an error. `operation` completes "failed to".
    pub fn new(
        kind: ReadErrorKind,
        operation: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { kind, operation: operation.into(), source: source.into() }
    }
}

/// Reads a document, and checks size and digest.
pub(crate) async fn read_manifest(
    reader: &dyn ImageReader,
    digest: &Digest,
    size: u64,
) -> Result<Result<Bytes, ContentFault>, ReadError> {
    if let Err(fault) = require_document_size("manifest", size) {
        return Ok(Err(fault));
    }
    Ok(fault_of(reader.manifest(digest).await)?.and_then(|content| check(content, digest, size)))
}

/// Reads the manifest or index of the image's reference.
pub(crate) async fn read_top(reader: &dyn ImageReader) -> Result<Result<Bytes, ContentFault>, ReadError> {
    Ok(fault_of(reader.top().await)?.and_then(|content| {
        require_document_size("manifest", content.len() as u64)?;
        reader.pinned().map_or(Ok(()), |digest| require_digest(&content, digest))?;
        Ok(content)
    }))
}

/// Separates a fault that the reader found in the content from a failure to read.
fn fault_of<T>(result: Result<T, ReadError>) -> Result<Result<T, ContentFault>, ReadError> {
    match result {
        Ok(content) => Ok(Ok(content)),
        Err(error) if error.kind == ReadErrorKind::Content => {
            Ok(Err(ContentFault::Rejected { reason: error.source.to_string() }))
        }
        Err(error) => Err(error),
    }
}

/// Reads a small blob, and checks size and digest.
pub(crate) async fn read_config(
    reader: &dyn ImageReader,
    digest: &Digest,
    size: u64,
) -> Result<Result<Bytes, ContentFault>, ReadError> {
    use futures::TryStreamExt as _;

    if let Err(fault) = require_document_size("config", size) {
        return Ok(Err(fault));
    }
    let mut stream = reader.blob(digest).await?;
    let mut content = Vec::new();
    loop {
        // After a fault, `check` names the digest of all bytes, which have arrived.
        let Ok(Some(piece)) = fault_of(stream.try_next().await)? else { break };
        content.extend_from_slice(&piece);
        if content.len() as u64 > size {
            return Ok(Err(ContentFault::Size { expected: size, is_longer: true }));
        }
    }
    Ok(check(content.into(), digest, size))
}

fn check(content: Bytes, digest: &Digest, size: u64) -> Result<Bytes, ContentFault> {
    let received = content.len() as u64;
    if received != size {
        return Err(ContentFault::Size { expected: size, is_longer: received > size });
    }
    require_digest(&content, digest)?;
    Ok(content)
}

pub(crate) fn require_digest(content: &[u8], expected: &Digest) -> Result<(), ContentFault> {
    let found = expected.of_same_kind(content);
    if found == *expected { Ok(()) } else { Err(ContentFault::Digest { found, expected: expected.clone() }) }
}

pub(crate) fn require_document_size(object: &'static str, size: u64) -> Result<(), ContentFault> {
    if size > DOCUMENT_MAX {
        return Err(ContentFault::TooLarge { object, size, limit: DOCUMENT_MAX });
    }
    Ok(())
}

//! Where bytes come from and go to: one repository of a registry, or an OCI layout folder.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use thiserror::Error;
use zstart_core::{Digest, Reference, Tag};

use zstart_oci::{Descriptor, RawManifest};

/// A blob's bytes, as they come.
pub type ByteStream = BoxStream<'static, Result<Bytes, std::io::Error>>;

/// What names a manifest inside a repository.
#[derive(Clone, Copy, Debug)]
pub enum ManifestKey<'a> {
    /// By tag: what that means may change.
    Tag(&'a Tag),
    /// By digest.
    Digest(&'a Digest),
}

impl<'a> From<&'a Reference> for ManifestKey<'a> {
    fn from(reference: &'a Reference) -> Self {
        match (reference.digest(), reference.tag()) {
            (Some(digest), _) => Self::Digest(digest),
            (None, Some(tag)) => Self::Tag(tag),
            (None, None) => unreachable!("a reference has a tag or a digest"),
        }
    }
}

/// A place that holds images: manifests by tag and digest, blobs by digest.
#[async_trait]
pub trait Repository: Send + Sync {
    /// Where this is, for messages. Two repositories with the same location are the same.
    fn location(&self) -> &str;

    /// A manifest, checked against the digest where one was asked for. The bytes are those that
    /// the repository holds.
    async fn manifest(&self, key: ManifestKey<'_>) -> Result<RawManifest, RepositoryError>;

    /// The same, or `None` where there is none.
    async fn manifest_if_there(&self, key: ManifestKey<'_>) -> Result<Option<RawManifest>, RepositoryError> {
        match self.manifest(key).await {
            Ok(manifest) => Ok(Some(manifest)),
            Err(error) if error.trouble == Trouble::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The digest that a tag means. Registries that count pulls don't count this.
    async fn tag_digest(&self, tag: &Tag) -> Result<Digest, RepositoryError> {
        Ok(self.manifest(ManifestKey::Tag(tag)).await?.digest)
    }

    /// The tags that there are, as far as they can be written down; no more than `most`.
    async fn tags(&self, most: usize) -> Result<Vec<Tag>, RepositoryError>;

    /// Stores a manifest under its digest, and under a tag where one is given.
    async fn put_manifest(
        &self,
        manifest: &RawManifest,
        media_type: &str,
        tag: Option<&Tag>,
    ) -> Result<(), RepositoryError>;

    /// A blob's bytes. Whoever reads them compares digest and size.
    async fn blob(&self, digest: &Digest) -> Result<ByteStream, RepositoryError>;

    /// Whether a blob is there.
    async fn has_blob(&self, digest: &Digest) -> Result<bool, RepositoryError>;

    /// What says of itself that it belongs to this manifest, and is an artifact of this type
    /// (distribution specification, "Listing Referrers"). Nothing, where there is no such list.
    async fn referrers(
        &self,
        _of: &Digest,
        _artifact_type: &str,
    ) -> Result<Vec<Descriptor>, RepositoryError> {
        Ok(Vec::new())
    }

    /// Lets this repository have a blob of another one without sending it. `false` where that isn't
    /// possible: another registry, no right to read there, or nothing there.
    async fn mount_blob(&self, _digest: &Digest, _from: &str) -> Result<bool, RepositoryError> {
        Ok(false)
    }

    /// Stores a small blob of which all is at hand, in as few requests as it takes.
    async fn put_blob(&self, digest: &Digest, content: Bytes) -> Result<(), RepositoryError> {
        let mut upload = self.begin_blob().await?;
        upload.send(Box::pin(stream::iter([Ok(content)]))).await?;
        upload.commit(digest).await
    }

    /// Starts to store a blob whose digest isn't known yet.
    async fn begin_blob(&self) -> Result<Box<dyn BlobUpload>, RepositoryError>;
}

/// A blob on its way into a repository. Dropped without [`commit`](BlobUpload::commit), it is never
/// visible.
#[async_trait]
pub trait BlobUpload: Send {
    /// Sends all of the content, as fast as the repository takes it. Called once.
    async fn send(&mut self, content: ByteStream) -> Result<(), RepositoryError>;

    /// Makes the blob visible under its digest, which the repository checks or the caller has.
    async fn commit(self: Box<Self>, digest: &Digest) -> Result<(), RepositoryError>;

    /// Tells the repository that nothing more will come. Best effort: what isn't committed is
    /// invisible anyway.
    async fn abort(self: Box<Self>);
}

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Pull,
    /// Writing.
    Push,
}

/// What kind of answer it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It isn't there.
    NotFound,
    /// The credentials don't allow it, or there are none.
    Denied,
    /// No answer, a broken connection, or an error of the other side's own.
    Unavailable,
    /// Too many requests.
    RateLimited {
        /// How long the other side asked to wait.
        retry_after: Option<Duration>,
    },
    /// The tag means something already, and can't be moved.
    TagTaken,
    /// The content isn't what its digest says.
    Mismatch,
    /// Anything else.
    Other,
}

/// A repository that couldn't do what it was asked.
#[derive(Debug, Error)]
#[error("failed to {operation} at {location}: {message}")]
pub struct RepositoryError {
    /// What was tried, e.g. `pull manifest v1`.
    pub operation: String,
    /// The repository.
    pub location: String,
    /// What it said, or what happened.
    pub message: String,
    /// Reading or writing.
    pub access: Access,
    /// What kind of answer it was.
    pub trouble: Trouble,
}

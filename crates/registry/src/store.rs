//! The interface of everything that holds images.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use zstart_core::{Digest, Reference, Tag};
use zstart_oci::{Descriptor, RawManifest};

use crate::error::RegistryError;
use crate::error_kind::ErrorKind;
use crate::http::RateLimit;

/// A blob's bytes, in the chunks in which they arrive.
pub type ByteStream = BoxStream<'static, Result<Bytes, RegistryError>>;

/// Name of a manifest inside a repository.
#[derive(Clone, Copy, Debug)]
pub enum ManifestKey<'a> {
    /// By tag, which may move.
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

/// Answer to the question whether a repository has a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The repository has the blob.
    Present,
    /// The repository doesn't have the blob.
    Absent,
    /// The repository refused the question, or failed to answer.
    Unknown,
}

/// Manifest under a tag that is about to be written.
#[derive(Debug)]
pub enum TagLookup {
    /// The tag names this manifest.
    Found(RawManifest),
    /// The tag doesn't exist.
    Absent,
    /// The repository refused the question, and its list of tags, which it says is complete, lacks the tag.
    Unlisted(RegistryError),
    /// The repository refused the question, with these credentials.
    Refused(RegistryError),
}

/// Tags of a repository among which a writer looks for its own.
#[derive(Debug)]
pub enum TagListing {
    /// The tags that were read. Some registries shorten a list without a word.
    Read(Vec<Tag>),
    /// The repository gives no list, or none in time.
    Refused(RegistryError),
}

/// One repository: manifests by tag and digest, blobs by digest. A registry's repository, or an OCI layout
/// folder.
#[async_trait]
pub trait Store: Send + Sync {
    /// Name of the repository, for messages. Two stores with one location are one repository.
    fn location(&self) -> &str;

    /// Allowance of pulls that the registry stated last; `None` if it states none.
    fn rate_limit(&self) -> Option<RateLimit> {
        None
    }

    /// Reads a manifest and compares it with the digest, if the key is one. The bytes are the repository's
    /// own.
    async fn manifest(&self, key: ManifestKey<'_>) -> Result<RawManifest, RegistryError>;

    /// Reads a manifest, or returns `None` if it doesn't exist.
    async fn find_manifest(&self, key: ManifestKey<'_>) -> Result<Option<RawManifest>, RegistryError> {
        match self.manifest(key).await {
            Ok(manifest) => Ok(Some(manifest)),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads the manifest under a tag that is about to be written. A refusal is no error: some registries
    /// refuse to show a tag or repository that doesn't exist yet, and accept its push.
    async fn look_up_tag(&self, tag: &Tag) -> Result<TagLookup, RegistryError> {
        let found = self.find_manifest(ManifestKey::Tag(tag)).await?;
        Ok(found.map_or(TagLookup::Absent, TagLookup::Found))
    }

    /// Resolves a tag. Registries with a pull allowance don't count this request.
    async fn tag_digest(&self, tag: &Tag) -> Result<Digest, RegistryError> {
        Ok(self.manifest(ManifestKey::Tag(tag)).await?.digest)
    }

    /// Resolves a tag that may not exist; `None` if it doesn't. Registries with a pull allowance don't count
    /// this request.
    async fn find_tag(&self, tag: &Tag) -> Result<Option<Digest>, RegistryError> {
        Ok(self.find_manifest(ManifestKey::Tag(tag)).await?.map(|manifest| manifest.digest))
    }

    /// Lists the tags of a repository that is about to be written, at most `max` of them. A refusal is no error:
    /// some registries give no list, and some refuse to show a repository that doesn't exist yet.
    async fn look_up_tags(&self, max: usize) -> Result<TagListing, RegistryError> {
        match self.tags(max).await {
            Ok(tags) => Ok(TagListing::Read(tags)),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(TagListing::Read(Vec::new())),
            Err(error) => Err(error),
        }
    }

    /// Returns whether a clean-up of this kind of repository may delete a manifest without a tag, even if a tagged index
    /// lists it.
    fn collects_untagged(&self) -> bool {
        false
    }

    /// Lists tags, at most `max` of them. Tags that the specification doesn't allow are left out.
    async fn tags(&self, max: usize) -> Result<Vec<Tag>, RegistryError>;

    /// Stores a manifest under its digest, and under a tag if one is given.
    async fn put_manifest(
        &self,
        manifest: &RawManifest,
        media_type: &str,
        tag: Option<&Tag>,
    ) -> Result<(), RegistryError>;

    /// Reads a blob. The reader compares digest and size.
    async fn blob(&self, digest: &Digest) -> Result<ByteStream, RegistryError>;

    /// Whether a blob exists, as far as one small request tells. [`Presence::Unknown`] means that only
    /// [`blob`](Self::blob) can tell.
    async fn blob_presence(&self, digest: &Digest) -> Presence;

    /// Lists the referrers of a manifest that have this artifact type (distribution specification, "Listing
    /// Referrers"). Empty if the repository keeps no such list.
    async fn referrers(
        &self,
        _digest: &Digest,
        _artifact_type: &str,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        Ok(Vec::new())
    }

    /// Links a blob of the repository at `from`, without sending it. `false` if that isn't possible: another
    /// registry, no right to read the other repository, or no such blob.
    async fn mount_blob(&self, _digest: &Digest, _from: &str) -> Result<bool, RegistryError> {
        Ok(false)
    }

    /// Stores a small blob that is in memory, in as few requests as the repository allows.
    async fn put_blob(&self, digest: &Digest, content: Bytes) -> Result<(), RegistryError> {
        let mut upload = self.start_upload().await?;
        upload.send(Box::pin(stream::iter([Ok(content)]))).await?;
        upload.commit(digest).await
    }

    /// Starts the upload of a blob whose digest isn't known yet.
    async fn start_upload(&self) -> Result<Box<dyn BlobUpload>, RegistryError>;
}

/// An upload. Dropped without [`commit`](BlobUpload::commit), its blob is never visible.
#[async_trait]
pub trait BlobUpload: Send {
    /// Sends all of the content. Called once. Content that ends with an error ends the upload with that
    /// error.
    async fn send(&mut self, content: ByteStream) -> Result<(), RegistryError>;

    /// Makes the blob visible under its digest, which the repository checks or the caller has checked.
    async fn commit(self: Box<Self>, digest: &Digest) -> Result<(), RegistryError>;

    /// Tells the repository that the upload ends here. Best effort: a blob without commit is invisible.
    async fn abort(self: Box<Self>);
}

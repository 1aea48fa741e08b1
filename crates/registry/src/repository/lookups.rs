//! Look-ups before and after a write: what a refusal means, and which rights they take.
//!
//! Registries refuse to show what doesn't exist. Artifactory answers 403 for a missing tag
//! (sigstore/cosign#2973). GHCR's token server refuses a token for pulling from a repository that the first
//! push will create (google/go-containerregistry#1691), and issues one for pushing. Hence three steps for a tag:
//! ask with the right to pull, ask with the right to push, read the list of tags. If all are refused, the push
//! decides.

use zstart_core::{Digest, Tag};

use super::{MAX_PAGES, RegistryRepository};
use crate::api::blobs::HeadAnswer;
use crate::api::{blobs, manifests, tags};
use crate::client::Client;
use crate::error::RequestError;
use crate::error_kind::ErrorKind;
use crate::observed::BlobHeads;
use crate::operation::{Access, Operation};
use crate::store::{ManifestKey, Presence, TagLookup};

/// Highest number of tags among which a tag is looked for.
const MAX_TAGS: usize = 100_000;

impl RegistryRepository {
    /// Looks a tag up that is about to be written.
    pub(super) async fn look_up(&self, tag: &Tag) -> Result<TagLookup, RequestError> {
        let refusal = match self.find(&self.reader(), tag).await {
            Err(error) if error.is_refusal() => error,
            found => return found,
        };
        let pusher = self.client.reading_with(Access::Push);
        if let Ok(found) = self.find(&pusher, tag).await {
            // A repository that the first push creates: reading it takes this token from now on.
            self.observed.update(|observed| observed.reads = Access::Push);
            return Ok(found);
        }
        for client in [&self.reader(), &pusher] {
            match self.list_tags(client, MAX_TAGS).await {
                Ok(list) if list.contains(tag) => return Err(refusal),
                Ok(list) if list.len() < MAX_TAGS => return Ok(TagLookup::Absent),
                Ok(_) => break,
                Err(error) => {
                    let error = zstart_core::chain(&error);
                    tracing::debug!(error, "failed to look for a tag in the list of tags");
                }
            }
        }
        let operation = Operation::pull("look for image", tag);
        Ok(TagLookup::Refused(refusal.during(operation, &self.location)))
    }

    async fn find(&self, client: &Client, tag: &Tag) -> Result<TagLookup, RequestError> {
        match self.retried(|| manifests::pull(client, ManifestKey::Tag(tag))).await {
            Ok(manifest) => Ok(TagLookup::Found(manifest)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(TagLookup::Absent),
            Err(error) => Err(error),
        }
    }

    /// Lists tags, at most `max` of them. A repository that doesn't exist has none.
    pub(super) async fn list_tags(&self, client: &Client, max: usize) -> Result<Vec<Tag>, RequestError> {
        let mut found: Vec<Tag> = Vec::new();
        let mut next = tags::first_page(client)?;
        for _ in 0..MAX_PAGES {
            let page = match self.retried(|| tags::page(client, &next)).await {
                Ok(page) => page,
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            };
            found.extend(page.tags);
            match page.next {
                Some(page) if found.len() < max => next = page,
                Some(_) | None => break,
            }
        }
        found.truncate(max);
        Ok(found)
    }

    /// Asks for a blob by HEAD, unless the registry has refused HEAD before. One attempt: the caller has
    /// another way to find out.
    pub(super) async fn head_blob(&self, digest: &Digest) -> Presence {
        if self.observed.get().blob_heads == BlobHeads::Refused {
            return Presence::Unknown;
        }
        match blobs::head(&self.reader(), digest).await {
            Ok(HeadAnswer::Present) => Presence::Present,
            Ok(HeadAnswer::Absent) => Presence::Absent,
            // An expired token is refused too. Asking by GET from then on costs little.
            Ok(HeadAnswer::Refused) => {
                self.observed.update(|observed| observed.blob_heads = BlobHeads::Refused);
                Presence::Unknown
            }
            Err(error) => {
                tracing::debug!(error = zstart_core::chain(&error), %digest, "failed to look for a blob");
                Presence::Unknown
            }
        }
    }
}

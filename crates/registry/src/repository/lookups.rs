//! Look-ups before and after a write: what a refusal means, and which rights they take.
//!
//! Registries refuse to show what doesn't exist. Artifactory answers 403 for a missing tag
//! (sigstore/cosign#2973). GHCR's token server refuses a token for pulling from a repository that the first
//! push will create (google/go-containerregistry#1691), and issues one for pushing. Hence three steps for a tag:
//! ask with the right to pull, ask with the right to push, read the list of tags. If all are refused, the push
//! decides. A password that is wrong is sent once: directories lock accounts after a few failures.

use reqwest::StatusCode;
use zstart_core::{Digest, Tag};

use super::{LIST_TIMEOUT, MAX_PAGES, RegistryRepository};
use crate::api::blobs::HeadAnswer;
use crate::api::{NextPage, blobs, manifests, tags};
use crate::auth::{Authorization, PullAuthorization};
use crate::client::Client;
use crate::error::RequestError;
use crate::error_kind::ErrorKind;
use crate::observed::BlobHeads;
use crate::operation::{Access, Operation};
use crate::store::{ManifestKey, Presence, TagListing, TagLookup};

/// Highest number of tags among which a tag is looked for.
const MAX_TAGS: usize = 100_000;

/// Tags of a repository, as far as they could be read.
pub(super) struct TagList {
    pub(super) tags: Vec<Tag>,
    /// The registry says that these are all. Some registries shorten a list without a word.
    is_complete: bool,
}

/// Result of a search for a tag that the registry refused to show to a reader.
enum Search {
    /// The registry shows the tag, or its absence, to credentials that may push.
    Shown(TagLookup),
    /// The tag is listed, or the credentials are refused.
    Denied,
    /// A complete list lacks the tag.
    Unlisted,
    Unknown,
}

impl RegistryRepository {
    /// Looks a tag up that is about to be written.
    pub(super) async fn look_up(&self, tag: &Tag) -> Result<TagLookup, RequestError> {
        let refusal = match self.find(&self.reader(), tag).await {
            Err(error) if error.is_refusal() => error,
            found => return found,
        };
        if self.is_wrong_password(&refusal).await {
            return Err(refusal);
        }
        let search = tokio::time::timeout(LIST_TIMEOUT, self.search(tag)).await.unwrap_or(Search::Unknown);
        let in_context =
            |error: RequestError| error.during(Operation::pull("look for image", tag), &self.location);
        match search {
            Search::Shown(lookup) => Ok(lookup),
            Search::Denied => Err(refusal),
            Search::Unlisted => Ok(TagLookup::Unlisted(in_context(refusal))),
            Search::Unknown => Ok(TagLookup::Refused(in_context(refusal))),
        }
    }

    /// Lists tags, at most `max` of them, with the right to pull, and where that is refused with the right to
    /// push. A registry that gives no list leaves the decision to the push. A wrong password is an error.
    pub(super) async fn look_up_list(&self, max: usize) -> Result<TagListing, RequestError> {
        let in_context = |error: RequestError| error.during(Operation::pull("list tags", ""), &self.location);
        let refusal = match self.list_in_time(&self.reader(), max).await {
            Ok(list) => return Ok(TagListing::Read(list.tags)),
            Err(error @ RequestError::Response { kind: ErrorKind::RateLimited { .. }, .. }) => {
                return Err(error);
            }
            Err(error) if !error.is_refusal() => return Ok(TagListing::Refused(in_context(error))),
            Err(error) => error,
        };
        if self.is_wrong_password(&refusal).await {
            return Err(refusal);
        }
        match self.list_in_time(&self.client.reading_with(Access::Push), max).await {
            Ok(list) => {
                // A repository that the first push creates: reading it takes this token from now on.
                self.observed.update(|observed| observed.reads = Access::Push);
                Ok(TagListing::Read(list.tags))
            }
            Err(error @ RequestError::Login(_)) if error.kind() == ErrorKind::Denied => Err(refusal),
            Err(_) => Ok(TagListing::Refused(in_context(refusal))),
        }
    }

    async fn list_in_time(&self, client: &Client, max: usize) -> Result<TagList, RequestError> {
        let listed = tokio::time::timeout(LIST_TIMEOUT, self.list_tags(client, max)).await;
        listed.unwrap_or(Err(RequestError::ResponseTimeout { limit: LIST_TIMEOUT }))
    }

    /// Returns whether a refused look-up says that the password is wrong. A token server answers 403 or 404 for a
    /// repository that doesn't exist.
    async fn is_wrong_password(&self, refusal: &RequestError) -> bool {
        if refusal.status() != Some(StatusCode::UNAUTHORIZED) {
            return false;
        }
        matches!(refusal, RequestError::Login(_))
            || matches!(
                self.client.pull_authorization().await,
                Ok(PullAuthorization { authorization: Authorization::Basic(_), .. })
            )
    }

    async fn search(&self, tag: &Tag) -> Search {
        let pusher = self.client.reading_with(Access::Push);
        match self.find(&pusher, tag).await {
            Ok(found) => {
                // A repository that the first push creates: reading it takes this token from now on.
                self.observed.update(|observed| observed.reads = Access::Push);
                return Search::Shown(found);
            }
            Err(error @ RequestError::Login(_)) if error.kind() == ErrorKind::Denied => {
                return Search::Denied;
            }
            Err(_) => {}
        }
        for client in [&self.reader(), &pusher] {
            match self.list_tags(client, MAX_TAGS).await {
                Ok(list) if list.tags.contains(tag) => return Search::Denied,
                Ok(list) if list.is_complete => return Search::Unlisted,
                Ok(_) => {}
                Err(error) => {
                    let error = zstart_core::chain(&error);
                    tracing::debug!(error, "failed to look for a tag in the list of tags");
                }
            }
        }
        Search::Unknown
    }

    async fn find(&self, client: &Client, tag: &Tag) -> Result<TagLookup, RequestError> {
        match self.retried(|| manifests::pull(client, ManifestKey::Tag(tag))).await {
            Ok(manifest) => Ok(TagLookup::Found(manifest)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(TagLookup::Absent),
            Err(error) => Err(error),
        }
    }

    /// Lists tags, at most `max` of them. A registry that says that there is no such list may hide it.
    pub(super) async fn list_tags(&self, client: &Client, max: usize) -> Result<TagList, RequestError> {
        let mut list = TagList { tags: Vec::new(), is_complete: false };
        let mut next = tags::first_page(client)?;
        for _ in 0..MAX_PAGES {
            let page = match self.retried(|| tags::page(client, &next)).await {
                Ok(page) => page,
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            };
            list.tags.extend(page.tags);
            list.is_complete = page.next == NextPage::End && list.tags.len() <= max;
            match page.next {
                NextPage::At(page) if list.tags.len() < max => next = page,
                NextPage::At(_) | NextPage::End | NextPage::Elsewhere => break,
            }
        }
        list.tags.truncate(max);
        Ok(list)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::options::RegistryOptions;

    /// A registry that denies each manifest, and lists tags without end, a page in eight seconds of the test's
    /// clock. Counts the pages.
    async fn start_slow_registry() -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let pages = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&pages);
        // The task ends with the test's runtime.
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    connection.read_buf(&mut head).await.unwrap();
                }
                let (status, body) = if head.starts_with(b"GET /v2/app/tags/list") {
                    count.fetch_add(1, Ordering::Relaxed);
                    tokio::time::pause();
                    tokio::time::advance(Duration::from_secs(8)).await;
                    tokio::time::resume();
                    ("200 OK\r\nLink: <?last=v1>; rel=\"next\"", "{\"tags\": [\"v1\"]}")
                } else if head.starts_with(b"GET /v2/ ") {
                    ("200 OK", "")
                } else {
                    ("403 Forbidden", "")
                };
                let length = body.len();
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close");
                // The client may have gone.
                let _ = connection.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await;
            }
        });
        (host, pages)
    }

    #[tokio::test]
    async fn slow_list_of_tags_ends_after_half_a_minute() {
        let (host, pages) = start_slow_registry().await;
        let client = Client::for_tests(&host, &host);
        let repository = RegistryRepository::new(host, client, RegistryOptions::default().retry);
        let found = repository.look_up(&"v2".parse().unwrap()).await.unwrap();
        assert!(matches!(found, TagLookup::Refused(_)), "{found:?}");
        assert!((3..=4).contains(&pages.swap(0, Ordering::Relaxed)), "{pages:?}");
        let listed = repository.look_up_list(MAX_TAGS).await.unwrap();
        assert!(matches!(listed, TagListing::Refused(_)), "{listed:?}");
        assert!((3..=4).contains(&pages.load(Ordering::Relaxed)), "{pages:?}");
    }
}

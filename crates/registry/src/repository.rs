//! A registry's repository as a [`Store`]: retries, and each error's context.
//!
//! oci-client (0.18) reads bodies without a limit, hides `Retry-After`, sends blobs in chunks smaller than
//! Amazon ECR accepts, fails on ECR's status 201 for them, and sends passwords to any realm. Hence zstart's
//! own client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt as _;
use reqwest::header::HeaderValue;
use zstart_core::sync::lock;
use zstart_core::{Digest, Tag};
use zstart_oci::{Descriptor, RawManifest};

use crate::api::manifests::TagHead;
use crate::api::uploads::{self, SinglePost};
use crate::api::{blobs, manifests, tags, try_mount};
use crate::backoff::{OWN_WRITES, RetryPolicy};
use crate::client::Client;
use crate::error::{RegistryError, RequestError};
use crate::error_kind::ErrorKind;
use crate::http::RateLimit;
use crate::observed::{Observed, SmallUploads};
use crate::operation::Operation;
use crate::store::{BlobUpload, ByteStream, ManifestKey, Presence, Store, TagListing, TagLookup};

use self::upload::Upload;

mod lookups;
mod referrers;
mod upload;

/// Highest number of pages that are read of a list: a registry with tiny pages must not keep a worker.
const MAX_PAGES: usize = 200;
/// Longest time for a list with all its pages and attempts. A list that takes longer isn't worth it.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);

/// One repository, with the credentials for it.
pub(crate) struct RegistryRepository {
    location: String,
    client: Client,
    retry: RetryPolicy,
    observed: Arc<Observed>,
    /// Clients for mounts, by the other repository's location: their tokens may read that repository too.
    /// `None` if the registry issues no such token.
    mount_clients: Mutex<HashMap<String, Option<Client>>>,
}

impl RegistryRepository {
    pub(crate) fn new(location: String, client: Client, retry: RetryPolicy) -> Self {
        let small_uploads =
            if client.ecr().is_none() { SmallUploads::SinglePost } else { SmallUploads::Session };
        let observed = Arc::new(Observed::new(small_uploads));
        Self { location, client, retry, observed, mount_clients: Mutex::default() }
    }

    /// The client for mounts from another repository, if the registry is the same.
    fn mount_client(&self, from: &str) -> Option<Client> {
        let mut clients = lock(&self.mount_clients);
        if let Some(known) = clients.get(from) {
            return known.clone();
        }
        let client = self.client.with_mount_source(from);
        clients.insert(from.to_owned(), client.clone());
        client
    }

    /// Ends mounts from a repository that these credentials may not read.
    fn forbid_mounts(&self, from: &str) {
        lock(&self.mount_clients).insert(from.to_owned(), None);
    }

    /// The client for requests that read.
    fn reader(&self) -> Client {
        self.client.reading_with(self.observed.get().reads)
    }

    /// Runs a request until it succeeds, fails for good, or has no attempts left.
    async fn run<T, F, R>(&self, operation: Operation, request: F) -> Result<T, RegistryError>
    where
        F: Fn() -> R,
        R: Future<Output = Result<T, RequestError>>,
    {
        self.retried(&request).await.map_err(|error| error.during(operation, &self.location))
    }

    async fn retried<T, F, R>(&self, request: F) -> Result<T, RequestError>
    where
        F: Fn() -> R,
        R: Future<Output = Result<T, RequestError>>,
    {
        self.retry.run(request, RequestError::kind, log_retry).await
    }

    /// Pushes a manifest. A registry may not see yet what was pushed just before: blobs, or the manifests of an
    /// index. From the first such answer on, a limit of time holds, and each attempt is one request.
    async fn push_manifest(
        &self,
        manifest: &RawManifest,
        media_type: &HeaderValue,
        tag: Option<&Tag>,
    ) -> Result<(), RequestError> {
        let push = || manifests::push(&self.client, manifest, media_type, tag);
        match self.retried(push).await {
            Err(error) if error.misses_content() => log_retry(&error),
            pushed => return pushed,
        }
        let kind = |error: &RequestError| {
            if error.misses_content() { ErrorKind::Unavailable } else { error.kind() }
        };
        OWN_WRITES.run_later(push, kind, log_retry).await
    }

    /// Stores a blob in one request if the registry supports that, and in two otherwise. Registries refuse the
    /// one request with statuses of their own, so the usual two decide.
    async fn put_monolithic(&self, digest: &Digest, content: &Bytes) -> Result<(), RequestError> {
        let session = match self.observed.get().small_uploads {
            SmallUploads::Session => uploads::start(&self.client).await?,
            SmallUploads::SinglePost => match uploads::single_post(&self.client, digest, content).await {
                Ok(SinglePost::Stored) => return Ok(()),
                Ok(SinglePost::Accepted(session)) => {
                    self.use_sessions();
                    *session
                }
                // A registry that asks for a pause gets it.
                Err(error) if matches!(error.kind(), ErrorKind::RateLimited { .. }) => return Err(error),
                Err(error) => {
                    let error = zstart_core::chain(&error);
                    tracing::debug!(error, "a single POST failed, opening an upload session");
                    self.use_sessions();
                    uploads::start(&self.client).await?
                }
            },
        };
        session.put(digest, content.clone()).await
    }

    fn use_sessions(&self) {
        self.observed.update(|observed| observed.small_uploads = SmallUploads::Session);
    }

    /// Adds a hint to the error of an upload that Amazon ECR refused because the repository doesn't exist:
    /// ECR answers 404, or cuts the connection.
    async fn explain(&self, error: RequestError) -> RequestError {
        let Some(ecr) = self.client.ecr() else { return error };
        let is_missing = match error.kind() {
            ErrorKind::NotFound => true,
            ErrorKind::Unavailable => tags::is_repository_missing(&self.client).await,
            ErrorKind::Denied
            | ErrorKind::RateLimited { .. }
            | ErrorKind::TagImmutable
            | ErrorKind::ContentMismatch
            | ErrorKind::Other => false,
        };
        if !is_missing {
            return error;
        }
        let hint = ecr.create_hint(self.client.repository());
        RequestError::NoRepository { hint, source: Box::new(error) }
    }
}

fn log_retry(error: &RequestError) {
    tracing::debug!(error = zstart_core::chain(error), "retrying a registry request");
}

#[async_trait]
impl Store for RegistryRepository {
    fn location(&self) -> &str {
        &self.location
    }

    fn rate_limit(&self) -> Option<RateLimit> {
        self.client.rate_limit()
    }

    async fn manifest(&self, key: ManifestKey<'_>) -> Result<RawManifest, RegistryError> {
        let operation = match key {
            ManifestKey::Tag(tag) => Operation::pull("pull image", tag),
            ManifestKey::Digest(digest) => Operation::pull("pull manifest", digest),
        };
        let client = self.reader();
        self.run(operation, || manifests::pull(&client, key)).await
    }

    async fn look_up_tag(&self, tag: &Tag) -> Result<TagLookup, RegistryError> {
        self.look_up(tag)
            .await
            .map_err(|error| error.during(Operation::pull("look for image", tag), &self.location))
    }

    async fn tag_digest(&self, tag: &Tag) -> Result<Digest, RegistryError> {
        let client = self.reader();
        let operation = Operation::pull("resolve image", tag);
        match self.run(operation, || manifests::head_tag(&client, tag)).await? {
            TagHead::Digest(digest) => Ok(digest),
            TagHead::Absent | TagHead::Unknown => Ok(self.manifest(ManifestKey::Tag(tag)).await?.digest),
        }
    }

    async fn find_tag(&self, tag: &Tag) -> Result<Option<Digest>, RegistryError> {
        let client = self.reader();
        let operation = Operation::pull("look for image", tag);
        match self.run(operation.clone(), || manifests::head_tag(&client, tag)).await? {
            TagHead::Digest(digest) => Ok(Some(digest)),
            TagHead::Absent => Ok(None),
            TagHead::Unknown => {
                match self.run(operation, || manifests::pull(&client, ManifestKey::Tag(tag))).await {
                    Ok(manifest) => Ok(Some(manifest.digest)),
                    Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(error),
                }
            }
        }
    }

    async fn look_up_tags(&self, max: usize) -> Result<TagListing, RegistryError> {
        self.look_up_list(max)
            .await
            .map_err(|error| error.during(Operation::pull("list tags", ""), &self.location))
    }

    fn collects_untagged(&self) -> bool {
        // A lifecycle policy of Amazon ECR expires no manifest before the index that names it, and an image may
        // have a thousand tags at most.
        self.client.ecr().is_none()
    }

    async fn tags(&self, max: usize) -> Result<Vec<Tag>, RegistryError> {
        let listed = self.list_tags(&self.reader(), max).await;
        match listed {
            Ok(list) => Ok(list.tags),
            Err(error) => Err(error.during(Operation::pull("list tags", ""), &self.location)),
        }
    }

    async fn put_manifest(
        &self,
        manifest: &RawManifest,
        media_type: &str,
        tag: Option<&Tag>,
    ) -> Result<(), RegistryError> {
        let operation = match tag {
            Some(tag) => Operation::push("push manifest", tag),
            None => Operation::push("push manifest", &manifest.digest),
        };
        let Ok(media_type) = HeaderValue::from_str(media_type) else {
            let problem = format!("media type {media_type:?} is no header value");
            return Err(RegistryError::new(operation, &self.location, ErrorKind::Other, problem));
        };
        let pushed = self.push_manifest(manifest, &media_type, tag).await;
        let (error, tag) = match (pushed, tag) {
            (Ok(()), _) => return Ok(()),
            (Err(error), Some(tag)) => (error, tag),
            (Err(error), None) => return Err(error.during(operation, &self.location)),
        };
        // Some registries with immutable tags refuse even the manifest that the tag names already (Amazon
        // ECR: 400 TAG_INVALID). Two clients that push one variant at once must both succeed.
        let error = match error.kind() {
            ErrorKind::TagImmutable | ErrorKind::Other => match self.tag_digest(tag).await {
                Ok(found) if found == manifest.digest => return Ok(()),
                Ok(found) if error.kind() == ErrorKind::TagImmutable => {
                    RequestError::TagImmutable { found, source: Box::new(error) }
                }
                Ok(_) | Err(_) => error,
            },
            _ => error,
        };
        Err(error.during(operation, &self.location))
    }

    async fn blob(&self, digest: &Digest) -> Result<ByteStream, RegistryError> {
        let operation = Operation::pull("pull blob", digest);
        let client = self.reader();
        let chunks = self.run(operation.clone(), || blobs::pull(&client, digest)).await?;
        let location = self.location.clone();
        Ok(Box::pin(chunks.map_err(move |error| error.during(operation.clone(), &location))))
    }

    async fn blob_presence(&self, digest: &Digest) -> Presence {
        self.head_blob(digest).await
    }

    async fn referrers(
        &self,
        digest: &Digest,
        artifact_type: &str,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let listed = self.list_referrers(digest, artifact_type).await;
        listed.map_err(|error| error.during(Operation::pull("list referrers of", digest), &self.location))
    }

    async fn mount_blob(&self, digest: &Digest, from: &str) -> Result<bool, RegistryError> {
        let Some(client) = self.mount_client(from) else { return Ok(false) };
        let mounted = try_mount(&client, digest).await;
        mounted.map_err(|error| {
            if matches!(error, RequestError::Login(_)) && error.kind() == ErrorKind::Denied {
                self.forbid_mounts(from);
            }
            error.during(Operation::push("mount blob", format_args!("{digest} from {from}")), &self.location)
        })
    }

    async fn put_blob(&self, digest: &Digest, content: Bytes) -> Result<(), RegistryError> {
        let put = self.retried(|| self.put_monolithic(digest, &content)).await;
        match put {
            Ok(()) => Ok(()),
            Err(error) => {
                let error = self.explain(error).await;
                Err(error.during(Operation::push("upload blob", digest), &self.location))
            }
        }
    }

    async fn start_upload(&self) -> Result<Box<dyn BlobUpload>, RegistryError> {
        match self.retried(|| uploads::start(&self.client)).await {
            Ok(session) => {
                let (location, observed) = (self.location.clone(), Arc::clone(&self.observed));
                Ok(Box::new(Upload { location, session, observed }))
            }
            Err(error) => {
                let error = self.explain(error).await;
                Err(error.during(Operation::push("begin a blob upload", ""), &self.location))
            }
        }
    }
}

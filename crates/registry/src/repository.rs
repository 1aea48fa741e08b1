//! A registry's repository as a [`Store`]: retries, and each error's context.
//!
//! oci-client (0.18) reads bodies without a limit, hides `Retry-After`, sends blobs in chunks smaller than
//! Amazon ECR accepts, fails on ECR's status 201 for them, and sends passwords to any realm. Hence zstart's
//! own client.

use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt as _;
use reqwest::header::HeaderValue;
use zstart_core::sync::lock;
use zstart_core::{Digest, Tag};
use zstart_oci::{Descriptor, RawManifest};

use crate::api::referrers::ListKind;
use crate::api::uploads::{self, Session, SinglePost, StreamError};
use crate::api::{blobs, manifests, referrers, tags, try_mount};
use crate::backoff::RetryPolicy;
use crate::client::Client;
use crate::error::{RegistryError, RequestError};
use crate::error_kind::ErrorKind;
use crate::operation::Operation;
use crate::store::{BlobUpload, ByteStream, ManifestKey, Store};

/// Highest number of pages that are read of a list: a registry with tiny pages must not keep a worker.
const MAX_PAGES: usize = 200;
/// Highest number of referrers that are read.
const MAX_REFERRERS: usize = 1000;

/// One repository, with the credentials for it.
pub(crate) struct RegistryRepository {
    location: String,
    client: Client,
    retry: RetryPolicy,
    small_uploads: Mutex<SmallUploads>,
}

/// Requests of a small blob's upload.
#[derive(Clone, Copy)]
enum SmallUploads {
    /// One, until the registry shows that it doesn't support that.
    SinglePost,
    /// Two: POST and PUT.
    Session,
}

impl RegistryRepository {
    pub(crate) fn new(location: String, client: Client, retry: RetryPolicy) -> Self {
        let small_uploads =
            if client.ecr().is_none() { SmallUploads::SinglePost } else { SmallUploads::Session };
        Self { location, client, retry, small_uploads: Mutex::new(small_uploads) }
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
        let on_retry = |error: &RequestError| {
            tracing::debug!(error = zstart_core::chain(error), "retrying a registry request");
        };
        self.retry.run(request, RequestError::kind, on_retry).await
    }

    /// Stores a blob in one request if the registry supports that, and in two otherwise.
    async fn put_monolithic(&self, digest: &Digest, content: &Bytes) -> Result<(), RequestError> {
        let session = match self.small_uploads() {
            SmallUploads::Session => uploads::start(&self.client).await?,
            SmallUploads::SinglePost => match uploads::single_post(&self.client, digest, content).await? {
                SinglePost::Stored => return Ok(()),
                SinglePost::Accepted(response) => {
                    self.use_sessions();
                    Session::opened_by(&self.client, &response)?
                }
                SinglePost::Unsupported => {
                    self.use_sessions();
                    uploads::start(&self.client).await?
                }
            },
        };
        session.put(digest, content.clone()).await
    }

    fn small_uploads(&self) -> SmallUploads {
        *lock(&self.small_uploads)
    }

    fn use_sessions(&self) {
        *lock(&self.small_uploads) = SmallUploads::Session;
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

    /// All referrers of one artifact type in a list, or `None` if there is no list.
    async fn referrers_in(
        &self,
        list: ListKind,
        digest: &Digest,
        artifact_type: &str,
    ) -> Result<Option<Vec<Descriptor>>, RequestError> {
        let mut found: Option<Vec<Descriptor>> = None;
        let mut next = list.first_page(&self.client, digest)?;
        for _ in 0..MAX_PAGES {
            let page = match self.retried(|| referrers::page(&self.client, list, &next)).await {
                Ok(page) => page,
                Err(error) => match error.kind() {
                    ErrorKind::Unavailable | ErrorKind::RateLimited { .. } => return Err(error),
                    // Denied too: some registries deny what they don't know.
                    ErrorKind::NotFound
                    | ErrorKind::Denied
                    | ErrorKind::TagImmutable
                    | ErrorKind::ContentMismatch
                    | ErrorKind::Other => None,
                },
            };
            let Some(page) = page else { break };
            let matching = page
                .referrers
                .into_iter()
                .filter(|one| one.artifact_type().as_deref() == Some(artifact_type));
            let found = found.get_or_insert_with(Vec::new);
            found.extend(matching);
            match page.next {
                Some(page) if found.len() < MAX_REFERRERS => next = page,
                Some(_) | None => break,
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl Store for RegistryRepository {
    fn location(&self) -> &str {
        &self.location
    }

    async fn manifest(&self, key: ManifestKey<'_>) -> Result<RawManifest, RegistryError> {
        let operation = match key {
            ManifestKey::Tag(tag) => Operation::pull("pull image", tag),
            ManifestKey::Digest(digest) => Operation::pull("pull manifest", digest),
        };
        self.run(operation, || manifests::pull(&self.client, key)).await
    }

    async fn tag_digest(&self, tag: &Tag) -> Result<Digest, RegistryError> {
        let found = manifests::tag_digest(&self.client, tag).await;
        match found.map_err(|error| error.during(Operation::pull("look for image", tag), &self.location))? {
            Some(digest) => Ok(digest),
            None => Ok(self.manifest(ManifestKey::Tag(tag)).await?.digest),
        }
    }

    async fn tags(&self, max: usize) -> Result<Vec<Tag>, RegistryError> {
        let operation = Operation::pull("list tags", "");
        let failed = |error: RequestError| error.during(operation.clone(), &self.location);
        let mut found: Vec<Tag> = Vec::new();
        let mut next = tags::first_page(&self.client).map_err(failed)?;
        for _ in 0..MAX_PAGES {
            let page = self.retried(|| tags::page(&self.client, &next)).await.map_err(failed)?;
            found.extend(page.tags);
            match page.next {
                Some(page) if found.len() < max => next = page,
                Some(_) | None => break,
            }
        }
        found.truncate(max);
        Ok(found)
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
        let pushed = self.retried(|| manifests::push(&self.client, manifest, &media_type, tag)).await;
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
        let chunks = self.run(operation.clone(), || blobs::pull(&self.client, digest)).await?;
        let location = self.location.clone();
        Ok(Box::pin(chunks.map_err(move |error| error.during(operation.clone(), &location))))
    }

    async fn has_blob(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let operation = Operation::pull("look for blob", digest);
        self.run(operation, || blobs::exists(&self.client, digest)).await
    }

    async fn referrers(
        &self,
        digest: &Digest,
        artifact_type: &str,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let failed =
            |error: RequestError| error.during(Operation::pull("list referrers of", digest), &self.location);
        for list in ListKind::ALL {
            if let Some(found) = self.referrers_in(list, digest, artifact_type).await.map_err(failed)? {
                return Ok(found);
            }
        }
        Ok(Vec::new())
    }

    async fn mount_blob(&self, digest: &Digest, from: &str) -> Result<bool, RegistryError> {
        let Some(client) = self.client.with_mount_source(from) else { return Ok(false) };
        let mounted = try_mount(&client, digest).await;
        mounted.map_err(|error| {
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
            Ok(session) => Ok(Box::new(Upload { location: self.location.clone(), session })),
            Err(error) => {
                let error = self.explain(error).await;
                Err(error.during(Operation::push("begin a blob upload", ""), &self.location))
            }
        }
    }
}

/// An upload session as a [`BlobUpload`].
struct Upload {
    location: String,
    session: Session,
}

#[async_trait]
impl BlobUpload for Upload {
    async fn send(&mut self, content: ByteStream) -> Result<(), RegistryError> {
        self.session.patch(content).await.map_err(|error| match error {
            StreamError::Content(error) => error,
            StreamError::Request(error) => error.during(Operation::push("upload a blob", ""), &self.location),
        })
    }

    async fn commit(self: Box<Self>, digest: &Digest) -> Result<(), RegistryError> {
        let put = self.session.put(digest, Bytes::new()).await;
        let operation = Operation::push("finish the upload of blob", digest);
        put.map_err(|error| error.during(operation, &self.location))
    }

    async fn abort(self: Box<Self>) {
        self.session.cancel().await;
    }
}

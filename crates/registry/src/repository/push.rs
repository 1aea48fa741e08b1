//! Writing a repository: our own uploader.
//!
//! A blob goes in one session: POST, one streaming PATCH for all of it, PUT with the digest that is
//! only known at the end. (`docker push` does the same; Amazon ECR takes it, and answers the PATCH
//! with 201 where the specification says 202.) A small one of which all is at hand goes with the POST, or
//! where a registry doesn't take it so, with the PUT. A manifest is one PUT.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode, Url};
use zstart_core::{Digest, Tag};

use super::network::Direction;
use super::session::Session;
use super::silence::Ended;
use super::{answer, silence};
use crate::{Access, BlobUpload, ByteStream, RepositoryError, Trouble};
use zstart_oci::RawManifest;

/// What the first request of an upload is for.
const BEGIN: &str = "begin a blob upload";
/// The media type of a blob on its way.
const BYTES: &str = "application/octet-stream";
/// How long a registry is asked to forget an upload. Somebody waits for the error that led to it.
const ABORT_LIMIT: Duration = Duration::from_secs(5);

/// Stores a manifest under its digest or a tag.
pub(super) async fn manifest(
    session: &Session,
    manifest: &RawManifest,
    media_type: &str,
    tag: Option<&Tag>,
) -> Result<(), RepositoryError> {
    let (operation, path) = match tag {
        Some(tag) => (format!("push manifest {tag}"), format!("manifests/{tag}")),
        None => (format!("push manifest {}", manifest.digest), format!("manifests/{}", manifest.digest)),
    };
    let url = session.url(Access::Push, &path)?;
    let request = session.request(Access::Push, &operation, Direction::Write, Method::PUT, &url).await?;
    let request = request.timeout(session.limits().write_silence);
    let request = request.header(CONTENT_TYPE, media_type).body(manifest.bytes.clone());
    if let Some(ecr) = session.ecr() {
        ecr.before_put().await;
    }
    let response = session.send(Access::Push, &operation, &url, request).await?;
    match response.status() {
        StatusCode::CREATED | StatusCode::OK | StatusCode::ACCEPTED => Ok(()),
        _ => Err(answer::from_response(session, Access::Push, &operation, response).await),
    }
}

/// Opens an upload session.
pub(super) async fn begin(session: &Session) -> Result<Upload, RepositoryError> {
    let url = session.url(Access::Push, "blobs/uploads/")?;
    let response = post(session, &url, Bytes::new()).await?;
    opened(session, &url, response).await
}

async fn post(session: &Session, url: &Url, content: Bytes) -> Result<Response, RepositoryError> {
    let request = session.request(Access::Push, BEGIN, Direction::Write, Method::POST, url).await?;
    let request = with_content(request.timeout(session.limits().write_silence), content);
    session.send(Access::Push, BEGIN, url, request).await
}

fn with_content(request: RequestBuilder, content: Bytes) -> RequestBuilder {
    if content.is_empty() {
        request.header(CONTENT_LENGTH, 0)
    } else {
        request.header(CONTENT_TYPE, BYTES).body(content)
    }
}

/// Stores a blob in two requests, or one: the specification's "Single POST", which a registry that doesn't
/// do it answers with an upload session (Distribution does). `one_will_do` says whether this one may be
/// asked for that, and learns.
pub(super) async fn whole(
    session: &Session,
    digest: &Digest,
    content: &Bytes,
    one_will_do: &AtomicBool,
) -> Result<(), RepositoryError> {
    let upload = if session.ecr().is_none() && one_will_do.load(Ordering::Relaxed) {
        let mut url = session.url(Access::Push, "blobs/uploads/")?;
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        let response = post(session, &url, content.clone()).await?;
        match response.status() {
            StatusCode::CREATED => return Ok(()),
            StatusCode::ACCEPTED => {
                one_will_do.store(false, Ordering::Relaxed);
                opened(session, &url, response).await?
            }
            // One that takes no such request may have words of its own for that; the usual one says what
            // else is wrong, if anything is.
            StatusCode::BAD_REQUEST
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::NOT_IMPLEMENTED => {
                one_will_do.store(false, Ordering::Relaxed);
                begin(session).await?
            }
            _ => return Err(answer::from_response(session, Access::Push, BEGIN, response).await),
        }
    } else {
        begin(session).await?
    };
    upload.finish(digest, content.clone()).await
}

/// The session that an answer says is open.
async fn opened(session: &Session, url: &Url, response: Response) -> Result<Upload, RepositoryError> {
    if response.status() != StatusCode::ACCEPTED {
        return Err(answer::from_response(session, Access::Push, BEGIN, response).await);
    }
    let location = answer::location(session, Access::Push, BEGIN, url, response.headers())?;
    Ok(Upload { session: session.clone(), location })
}

/// Asks the registry to link a blob that another of its repositories has. One that doesn't do that, or
/// not here, opens an upload instead or refuses (distribution specification, "Mounting a blob from
/// another repository").
pub(super) async fn mount(session: &Session, digest: &Digest, from: &str) -> Result<bool, RepositoryError> {
    let operation = format!("mount blob {digest} from {from}");
    let mut url = session.url(Access::Push, "blobs/uploads/")?;
    url.query_pairs_mut().append_pair("mount", digest.as_str()).append_pair("from", from);
    let request = session.request(Access::Push, &operation, Direction::Write, Method::POST, &url).await?;
    let request = request.timeout(session.limits().write_silence).header(CONTENT_LENGTH, 0);
    let response = session.send(Access::Push, &operation, &url, request).await?;
    match response.status() {
        StatusCode::CREATED => Ok(true),
        StatusCode::ACCEPTED => {
            let location = answer::location(session, Access::Push, &operation, &url, response.headers())?;
            Box::new(Upload { session: session.clone(), location }).abort().await;
            Ok(false)
        }
        _ => Err(answer::from_response(session, Access::Push, &operation, response).await),
    }
}

/// An open upload session.
pub(super) struct Upload {
    session: Session,
    /// Where the next request goes; each answer may name another place.
    location: Url,
}

impl Upload {
    async fn request(
        &self,
        operation: &str,
        method: Method,
        url: &Url,
    ) -> Result<RequestBuilder, RepositoryError> {
        self.session.request(Access::Push, operation, Direction::Write, method, url).await
    }

    /// Sends what is still to come, and closes the session.
    async fn finish(&self, digest: &Digest, content: Bytes) -> Result<(), RepositoryError> {
        let operation = format!("finish the upload of blob {digest}");
        let mut url = self.location.clone();
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        let request = self.request(&operation, Method::PUT, &url).await?;
        let request = with_content(request.timeout(self.session.limits().write_silence), content);
        let response = self.session.send(Access::Push, &operation, &url, request).await?;
        match response.status() {
            StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::ACCEPTED => Ok(()),
            _ => Err(self.failed(&operation, response).await),
        }
    }

    async fn failed(&self, operation: &str, response: Response) -> RepositoryError {
        answer::from_response(&self.session, Access::Push, operation, response).await
    }
}

#[async_trait]
impl BlobUpload for Upload {
    async fn send(&mut self, content: ByteStream) -> Result<(), RepositoryError> {
        const OPERATION: &str = "upload a blob";
        let limits = self.session.limits();
        let (content, taken) = silence::watched(content, limits);
        let request = self.request(OPERATION, Method::PATCH, &self.location).await?;
        let request = request.header(CONTENT_TYPE, BYTES).body(Body::wrap_stream(content));
        let response = tokio::select! {
            response = self.session.send(Access::Push, OPERATION, &self.location, request) => response?,
            ended = taken.ended(limits.write_silence) => {
                let message = match ended {
                    Ended::Silent => format!("it took nothing for {} s", limits.write_silence.as_secs()),
                    Ended::Slow => "it is taken too slowly".to_owned(),
                };
                return Err(self.session.error(Access::Push, OPERATION, Trouble::Unavailable, message));
            }
        };
        match response.status() {
            StatusCode::ACCEPTED | StatusCode::CREATED | StatusCode::NO_CONTENT => {
                let headers = response.headers();
                self.location =
                    answer::location(&self.session, Access::Push, OPERATION, &self.location, headers)?;
                Ok(())
            }
            _ => Err(self.failed(OPERATION, response).await),
        }
    }

    async fn commit(self: Box<Self>, digest: &Digest) -> Result<(), RepositoryError> {
        self.finish(digest, Bytes::new()).await
    }

    async fn abort(self: Box<Self>) {
        // The registry forgets sessions by itself; nothing hangs on this answer.
        const OPERATION: &str = "cancel an upload";
        let sent = async {
            let request = self.request(OPERATION, Method::DELETE, &self.location).await?.timeout(ABORT_LIMIT);
            self.session.send(Access::Push, OPERATION, &self.location, request).await
        };
        if let Err(error) = sent.await {
            tracing::debug!(%error, "could not cancel an upload");
        }
    }
}

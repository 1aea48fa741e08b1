//! Uploads of blobs (distribution specification, "Pushing blobs").
//!
//! A streamed blob takes one session: POST, one PATCH for all of it, PUT with the digest, which is known at
//! the end only. (`docker push` does the same; Amazon ECR accepts it, and answers the PATCH with 201 where
//! the specification says 202.) A small blob in memory goes with the POST, or with the PUT if the registry
//! doesn't support that.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use reqwest::{Body, Method, Response, StatusCode, Url};
use thiserror::Error;
use zstart_core::Digest;
use zstart_core::sync::lock;

use crate::client::Client;
use crate::error::{RegistryError, RequestError};
use crate::http::{monitor, redirect_target};
use crate::operation::Access;
use crate::request::Request;
use crate::store::ByteStream;

/// Longest time to cancel an upload: the caller waits to report the error that led to it.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// An open upload session.
pub(crate) struct Session {
    client: Client,
    /// Address of the next request; each response may name another one.
    location: Url,
}

/// A streamed upload that failed.
#[derive(Debug, Error)]
pub(crate) enum StreamError {
    /// The content ended with an error of its own.
    #[error(transparent)]
    Content(RegistryError),
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// Result of a POST with the whole blob (the specification's "Single POST").
pub(crate) enum SinglePost {
    /// The blob is stored.
    Stored,
    /// The registry doesn't support it, and opened an upload session instead, as Distribution does.
    Accepted(Box<Response>),
    /// The registry doesn't support it.
    Unsupported,
}

/// Opens an upload session.
pub(crate) async fn start(client: &Client) -> Result<Session, RequestError> {
    let response = post(client, client.url("blobs/uploads/")?, Bytes::new()).await?;
    match response.status() {
        StatusCode::ACCEPTED => Session::opened_by(client, &response),
        _ => Err(client.error_of(response).await),
    }
}

/// Sends a blob in a single POST.
pub(crate) async fn single_post(
    client: &Client,
    digest: &Digest,
    content: &Bytes,
) -> Result<SinglePost, RequestError> {
    let mut url = client.url("blobs/uploads/")?;
    url.query_pairs_mut().append_pair("digest", digest.as_str());
    let response = post(client, url, content.clone()).await?;
    match response.status() {
        StatusCode::CREATED => Ok(SinglePost::Stored),
        StatusCode::ACCEPTED => Ok(SinglePost::Accepted(Box::new(response))),
        // Registries refuse it with statuses of their own. The usual POST reports any other problem.
        StatusCode::BAD_REQUEST
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::NOT_IMPLEMENTED => Ok(SinglePost::Unsupported),
        _ => Err(client.error_of(response).await),
    }
}

async fn post(client: &Client, url: Url, content: Bytes) -> Result<Response, RequestError> {
    let request = Request::write(Method::POST, url).timeout(client.timeouts().write_idle).blob(content);
    client.send(Access::Push, request).await
}

impl Session {
    /// The session at the address that a response names.
    pub(crate) fn opened_by(client: &Client, response: &Response) -> Result<Self, RequestError> {
        Ok(Self { client: client.clone(), location: redirect_target(response.url(), response.headers())? })
    }

    /// Streams all of the content in one PATCH.
    pub(crate) async fn patch(&mut self, content: ByteStream) -> Result<(), StreamError> {
        let (timeouts, minimum) = (self.client.timeouts(), self.client.min_throughput());
        let (content, monitor) = monitor(content, timeouts.write_idle, minimum);
        // The HTTP client hides the content's error behind its own.
        let failure: Arc<Mutex<Option<RegistryError>>> = Arc::default();
        let keep = Arc::clone(&failure);
        let content = content.map_err(move |error| {
            *lock(&keep) = Some(error);
            std::io::Error::other("the content ended with an error")
        });
        let request =
            Request::write(Method::PATCH, self.location.clone()).blob_stream(Body::wrap_stream(content));
        let sent = tokio::select! {
            sent = self.client.send(Access::Push, request) => sent,
            stalled = monitor.stalled() => Err(stalled.into()),
        };
        if let Some(error) = lock(&failure).take() {
            return Err(StreamError::Content(error));
        }
        let response = sent?;
        match response.status() {
            StatusCode::ACCEPTED | StatusCode::CREATED | StatusCode::NO_CONTENT => {
                self.location = redirect_target(&self.location, response.headers())?;
                Ok(())
            }
            _ => Err(self.client.error_of(response).await.into()),
        }
    }

    /// Sends the rest of the content, and closes the session.
    pub(crate) async fn put(&self, digest: &Digest, content: Bytes) -> Result<(), RequestError> {
        let mut url = self.location.clone();
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        let timeouts = self.client.timeouts();
        let request = Request::write(Method::PUT, url).timeout(timeouts.write_idle).blob(content);
        let response = self.client.send(Access::Push, request).await?;
        match response.status() {
            StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::ACCEPTED => Ok(()),
            _ => Err(self.client.error_of(response).await),
        }
    }

    /// Cancels the session. Registries drop sessions by themselves, so a failure is logged and no more.
    pub(crate) async fn cancel(&self) {
        let request = Request::write(Method::DELETE, self.location.clone()).timeout(CANCEL_TIMEOUT);
        if let Err(error) = self.client.send(Access::Push, request).await {
            tracing::debug!(error = zstart_core::chain(&error), "failed to cancel an upload");
        }
    }
}

//! Uploads of blobs (distribution specification, "Pushing blobs").
//!
//! A streamed blob takes one session: POST, one PATCH for all of it, PUT with the digest, which is known at
//! the end only. (`docker push` does the same; Amazon ECR accepts it, and answers the PATCH with 201 where
//! the specification says 202.) A small blob in memory goes with the POST, or with the PUT if the registry
//! doesn't support that.
//!
//! A redirected stream can't be sent again. Once a registry has redirected one, an empty PATCH goes first: it
//! finds the address that the stream goes to.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use reqwest::header::LOCATION;
use reqwest::{Body, Method, Response, StatusCode, Url};
use thiserror::Error;
use zstart_core::Digest;
use zstart_core::sync::lock;

use super::is_written;
use crate::client::Client;
use crate::error::{RegistryError, RequestError};
use crate::http::monitor;
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
    Accepted(Box<Session>),
}

/// Opens an upload session.
pub(crate) async fn start(client: &Client) -> Result<Session, RequestError> {
    let mut request = post(client, client.url("blobs/uploads/")?, Bytes::new());
    let response = client.send(Access::Push, &mut request).await?;
    if !is_written(response.status()) {
        return Err(client.error_of(response).await);
    }
    Session::opened_by(client, &request, &response)
}

/// Sends a blob in a single POST.
pub(crate) async fn single_post(
    client: &Client,
    digest: &Digest,
    content: &Bytes,
) -> Result<SinglePost, RequestError> {
    let mut url = client.url("blobs/uploads/")?;
    url.query_pairs_mut().append_pair("digest", digest.as_str());
    let mut request = post(client, url, content.clone());
    let response = client.send(Access::Push, &mut request).await?;
    match response.status() {
        StatusCode::CREATED => Ok(SinglePost::Stored),
        status if is_written(status) => {
            Ok(SinglePost::Accepted(Box::new(Session::opened_by(client, &request, &response)?)))
        }
        _ => Err(client.error_of(response).await),
    }
}

fn post(client: &Client, url: Url, content: Bytes) -> Request {
    Request::write(Method::POST, url).timeout(client.timeouts().write_idle).blob(content)
}

/// Requires that an address that another origin chose is no other path of the registry than an upload of the
/// repository: the registry's credentials go along.
fn require_upload(client: &Client, url: &Url) -> Result<(), RequestError> {
    if !client.is_own(url) {
        return Ok(());
    }
    let uploads = client.url("blobs/uploads/")?;
    // A further segment, also an encoded one, may name another repository's object.
    let names_upload =
        |name: &str| !name.is_empty() && !name.contains('/') && !name.contains('\\') && !has_path(name);
    let has_upload = url.path().strip_prefix(uploads.path()).is_some_and(names_upload);
    let problem = "was sent by another host and leads outside of the repository's uploads";
    if has_upload { Ok(()) } else { Err(RequestError::Location { problem }) }
}

/// Returns whether a segment contains an encoded dot, slash, backslash or percent sign.
fn has_path(segment: &str) -> bool {
    let segment = segment.to_ascii_lowercase();
    ["%2e", "%2f", "%5c", "%25"].iter().any(|encoded| segment.contains(encoded))
}

/// The address of a session after `request`, as its response names it.
fn next_address(client: &Client, request: &Request, response: &Response) -> Result<Url, RequestError> {
    let url = client.redirect_target(response)?;
    if request.is_steered || !client.is_own(response.url()) {
        require_upload(client, &url)?;
    }
    Ok(url)
}

impl Session {
    /// The session at the address that a response names. `request` is the one that it answers.
    pub(crate) fn opened_by(
        client: &Client,
        request: &Request,
        response: &Response,
    ) -> Result<Self, RequestError> {
        Ok(Self { client: client.clone(), location: next_address(client, request, response)? })
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
        let mut request =
            Request::write(Method::PATCH, self.location.clone()).blob_stream(Body::wrap_stream(content));
        let sent = tokio::select! {
            sent = self.client.send(Access::Push, &mut request) => sent,
            stalled = monitor.stalled() => Err(stalled.into()),
        };
        if let Some(error) = lock(&failure).take() {
            return Err(StreamError::Content(error));
        }
        let response = sent?;
        if !is_written(response.status()) {
            return Err(self.client.error_of(response).await.into());
        }
        Ok(self.advance(&request, &response)?)
    }

    /// Finds the address of a stream that the registry redirects: sends up to `redirects` times an
    /// empty PATCH, each to the address that the one before was redirected to. Returns how many were redirected.
    pub(crate) async fn follow_stream_redirects(&mut self, redirects: usize) -> Result<usize, RequestError> {
        for followed in 0..redirects {
            let timeouts = self.client.timeouts();
            let probe = Request::write(Method::PATCH, self.location.clone());
            let mut probe = probe.timeout(timeouts.write_idle).blob(Bytes::new());
            let response = self.client.send_once(Access::Push, &mut probe).await?;
            let Some(target) = self.client.write_redirect(&probe, &response)? else {
                // The next address of a session that was redirected may be redirected again, so the stream
                // stays here. A refusal counts when the stream gets it.
                if followed == 0 && is_written(response.status()) {
                    self.advance(&probe, &response)?;
                }
                return Ok(followed);
            };
            if !self.client.is_own(&probe.url) {
                require_upload(&self.client, &target)?;
            }
            self.location = target;
        }
        Ok(redirects)
    }

    /// Moves to the address that a response names; without one, the session keeps its address.
    fn advance(&mut self, request: &Request, response: &Response) -> Result<(), RequestError> {
        if response.headers().contains_key(LOCATION) {
            self.location = next_address(&self.client, request, response)?;
        }
        Ok(())
    }

    /// Sends the rest of the content, and closes the session.
    pub(crate) async fn put(&self, digest: &Digest, content: Bytes) -> Result<(), RequestError> {
        let mut url = self.location.clone();
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        let timeouts = self.client.timeouts();
        let mut request = Request::write(Method::PUT, url).timeout(timeouts.write_idle).blob(content);
        let response = self.client.send(Access::Push, &mut request).await?;
        if is_written(response.status()) { Ok(()) } else { Err(self.client.error_of(response).await) }
    }

    /// Cancels the session. Registries drop sessions by themselves, so a failure is logged and no more.
    pub(crate) async fn cancel(&self) {
        let mut request = Request::write(Method::DELETE, self.location.clone()).timeout(CANCEL_TIMEOUT);
        if let Err(error) = self.client.send(Access::Push, &mut request).await {
            tracing::debug!(error = zstart_core::chain(&error), "failed to cancel an upload");
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Streams a blob to a registry that answers the PATCH with this head, and returns the request lines.
    async fn requests_of_an_upload(patched: &'static str) -> Vec<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&requests);
        // The task ends with the test's runtime.
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut request = Vec::new();
                let is_patch = |request: &[u8]| request.starts_with(b"PATCH ");
                let ends = |request: &[u8]| {
                    let end: &[u8] = if is_patch(request) { b"\r\n0\r\n\r\n" } else { b"\r\n\r\n" };
                    request.ends_with(end)
                };
                while !ends(&request) {
                    connection.read_buf(&mut request).await.unwrap();
                }
                let answer = if is_patch(&request) { patched } else { "201 Created" };
                let line = String::from_utf8_lossy(&request).lines().next().unwrap().to_owned();
                lock(&log).push(line.trim_end_matches(" HTTP/1.1").to_owned());
                let head = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                connection.write_all(head.as_bytes()).await.unwrap();
            }
        });
        let client = Client::for_tests(&host, &host);
        let location = client.url("blobs/uploads/1?state=a").unwrap();
        let mut session = Session { client, location };
        session.patch(Box::pin(stream::iter([Ok("content".into())]))).await.unwrap();
        session.put(&Digest::sha256_of(b"content"), Bytes::new()).await.unwrap();
        lock(&requests).iter().filter(|line| *line != "GET /v2/").cloned().collect()
    }

    #[test]
    fn another_origin_leads_to_uploads_of_the_repository_only() {
        let client = Client::for_tests("registry.example", "");
        let require = |url: &str| require_upload(&client, &url.parse().unwrap());
        for url in [
            "https://registry.example/v2/app/blobs/uploads/0b9c-4e?state=a%2Fb",
            "https://registry.example/v2/app/blobs/uploads/a%3D",
            "https://storage.example/v2/prod/manifests/latest",
        ] {
            assert!(require(url).is_ok(), "{url}");
        }
        for path in [
            "prod/manifests/latest",
            "app/manifests/latest",
            "app/blobs/uploads/",
            "app/blobs/uploads/../../manifests/latest",
            "app/blobs/uploads/..%2f..%2Fmanifests%2Flatest",
            "app/blobs/uploads/%252e%252e%252fx",
            "app/blobs/uploads/x/manifests/latest",
            "application/blobs/uploads/x",
        ] {
            let error = require(&format!("https://registry.example/v2/{path}")).unwrap_err();
            assert!(error.to_string().contains("outside of the repository's uploads"), "{path}: {error}");
        }
    }

    #[tokio::test]
    async fn patch_without_location_keeps_the_address() {
        let digest = format!("sha256%3A{}", Digest::sha256_of(b"content").hex());
        for (patched, put) in [
            ("202 Accepted", "1?state=a"),
            ("200 OK", "1?state=a"),
            ("202 Accepted\r\nLocation: 2?state=b", "2?state=b"),
            ("201 Created\r\nLocation: /v2/app/blobs/uploads/3?state=c", "3?state=c"),
        ] {
            let requests = requests_of_an_upload(patched).await;
            let uploads = "/v2/app/blobs/uploads/";
            let expected =
                [format!("PATCH {uploads}1?state=a"), format!("PUT {uploads}{put}&digest={digest}")];
            assert_eq!(requests, expected, "{patched}");
        }
    }
}

//! Reading a repository.

use futures::TryStreamExt as _;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, Response, StatusCode, Url};
use zstart_core::{Digest, Tag};

use super::network::Direction;
use super::session::Session;
use super::{answer, pace};
use crate::{Access, ByteStream, ManifestKey, RepositoryError, Trouble};
use zstart_oci::{MANIFEST_MAX, RawManifest, media_type};

/// The registry's own word on a manifest's digest (OCI distribution specification, "Pulling
/// manifests").
const CONTENT_DIGEST: &str = "docker-content-digest";
/// How many redirects are followed. Registries send readers of blobs to their storage, once.
const REDIRECTS_MAX: usize = 5;

/// A manifest's bytes, compared with the digest that was asked for, or else with the one that the
/// registry names.
pub(super) async fn manifest(
    session: &Session,
    key: ManifestKey<'_>,
) -> Result<RawManifest, RepositoryError> {
    let (operation, path) = match key {
        ManifestKey::Tag(tag) => (format!("pull image {tag}"), format!("manifests/{tag}")),
        ManifestKey::Digest(digest) => (format!("pull manifest {digest}"), format!("manifests/{digest}")),
    };
    let response = request(session, Method::GET, &path, &operation).await?;
    if response.status() != StatusCode::OK {
        return Err(answer::from_response(session, Access::Pull, &operation, response).await);
    }
    let named = named_digest(&response);
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    let bytes = answer::read_bounded(session, Access::Pull, &operation, response, MANIFEST_MAX).await?;
    let manifest = RawManifest::new(bytes.into()).served_as(&content_type);
    let expected: Option<Digest> = match key {
        ManifestKey::Digest(digest) => Some(digest.clone()),
        ManifestKey::Tag(_) => named,
    };
    match expected {
        Some(expected) if !expected.matches(&manifest.bytes) => {
            let message = format!("the registry served {} instead of {expected}", manifest.digest);
            Err(session.error(Access::Pull, operation, Trouble::Mismatch, message))
        }
        _ => Ok(manifest),
    }
}

/// What a registry says that a tag means. `None` where it gives no such answer: then reading the
/// manifest gives it, or says why not (answers to HEAD have no body that could).
pub(super) async fn tag_digest(session: &Session, tag: &Tag) -> Result<Option<Digest>, RepositoryError> {
    let operation = format!("look for image {tag}");
    let response = request(session, Method::HEAD, &format!("manifests/{tag}"), &operation).await;
    match response {
        Ok(response) if response.status() == StatusCode::OK => Ok(named_digest(&response)),
        Ok(_) => Ok(None),
        Err(error) if matches!(error.trouble, Trouble::Unavailable | Trouble::RateLimited { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn named_digest(response: &Response) -> Option<Digest> {
    response.headers().get(CONTENT_DIGEST)?.to_str().ok()?.parse().ok()
}

/// A blob's bytes, in the pieces in which they arrive.
pub(super) async fn blob(session: &Session, digest: &Digest) -> Result<ByteStream, RepositoryError> {
    let operation = format!("pull blob {digest}");
    // Always from this repository: a descriptor's `urls` would lead to any host.
    let response = request(session, Method::GET, &format!("blobs/{digest}"), &operation).await?;
    if response.status() != StatusCode::OK {
        return Err(answer::from_response(session, Access::Pull, &operation, response).await);
    }
    let slow = session.error(Access::Pull, &operation, Trouble::Unavailable, "it comes too slowly");
    let (limits, session) = (session.limits(), session.clone());
    let content = response.bytes_stream().map_err(move |error| {
        std::io::Error::other(answer::from_request(&session, Access::Pull, &operation, error))
    });
    Ok(pace::watched(Box::pin(content), limits, slow))
}

/// Whether a blob is there.
pub(super) async fn has_blob(session: &Session, digest: &Digest) -> Result<bool, RepositoryError> {
    let operation = format!("look for blob {digest}");
    let response = request(session, Method::HEAD, &format!("blobs/{digest}"), &operation).await?;
    match response.status() {
        StatusCode::OK => Ok(true),
        StatusCode::NOT_FOUND => Ok(false),
        _ => Err(answer::from_response(session, Access::Pull, &operation, response).await),
    }
}

/// Sends a request, also to where the registry sends its readers. Credentials go to the registry alone.
pub(super) async fn request(
    session: &Session,
    method: Method,
    path: &str,
    operation: &str,
) -> Result<Response, RepositoryError> {
    let url = session.url(Access::Pull, path)?;
    request_at(session, method, url, &accept(path), operation).await
}

/// The same for an address of the registry.
pub(super) async fn request_at(
    session: &Session,
    method: Method,
    mut url: Url,
    accept: &str,
    operation: &str,
) -> Result<Response, RepositoryError> {
    for _ in 0..=REDIRECTS_MAX {
        let request = session.request(Access::Pull, operation, Direction::Read, method.clone(), &url).await?;
        let request = request.header(ACCEPT, accept);
        let response = session.send(Access::Pull, operation, &url, request).await?;
        if !response.status().is_redirection() {
            return Ok(response);
        }
        url = answer::location(session, Access::Pull, operation, &url, response.headers())?;
    }
    let message = format!("more than {REDIRECTS_MAX} redirects");
    Err(session.error(Access::Pull, operation, Trouble::Other, message))
}

/// Every type of manifest, so that a registry doesn't translate one into another.
pub(super) fn accept(path: &str) -> String {
    if path.starts_with("manifests/") { media_type::ACCEPT.join(", ") } else { "*/*".to_owned() }
}

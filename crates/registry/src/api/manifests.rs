//! Manifests (distribution specification, "Pulling manifests" and "Pushing Manifests").

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Response, StatusCode};
use zstart_core::{Digest, Tag};
use zstart_oci::{MANIFEST_MAX, RawManifest, media_type};

use super::{is_content, is_written};
use crate::client::Client;
use crate::error::RequestError;
use crate::error_kind::ErrorKind;
use crate::operation::Access;
use crate::request::Request;
use crate::store::ManifestKey;

/// A manifest's digest as the registry states it.
const CONTENT_DIGEST: &str = "docker-content-digest";

/// Pulls a manifest and compares it with the digest that was asked for, or for a tag with the one that the
/// registry states.
pub(crate) async fn pull(client: &Client, key: ManifestKey<'_>) -> Result<RawManifest, RequestError> {
    let url = client.url(&path(key))?;
    let response = client.read(Method::GET, url, accept()).await?;
    if !is_content(response.status()) {
        return Err(client.error_of(response).await);
    }
    let stated = stated_digest(&response);
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    let bytes = client.read_bounded(response, MANIFEST_MAX).await?;
    let manifest = RawManifest::new(bytes.into()).with_content_type(&content_type);
    let expected = match key {
        ManifestKey::Digest(digest) => Some(digest.clone()),
        ManifestKey::Tag(_) => stated,
    };
    match expected {
        Some(expected) if !expected.matches(&manifest.bytes) => {
            Err(RequestError::Digest { found: manifest.digest, expected })
        }
        _ => Ok(manifest),
    }
}

/// Answer to the question for a tag's digest.
pub(crate) enum TagHead {
    /// The tag names this manifest.
    Digest(Digest),
    /// The registry says that there is no such tag.
    Absent,
    /// The registry doesn't state the digest, refuses, or fails. Pulling the manifest gives the digest, or an
    /// error with a message (a response to HEAD has no body).
    Unknown,
}

/// Asks for a tag's digest. A registry that asks for a pause is an error: pulling would use up the rest of an
/// allowance.
pub(crate) async fn head_tag(client: &Client, tag: &Tag) -> Result<TagHead, RequestError> {
    let Ok(url) = client.url(&path(ManifestKey::Tag(tag))) else { return Ok(TagHead::Unknown) };
    let response = match client.read(Method::HEAD, url, accept()).await {
        Ok(response) => response,
        // A GET would send the refused password again, and directories lock accounts after a few failures.
        Err(error @ RequestError::Login(_)) if error.kind() == ErrorKind::Denied => return Err(error),
        Err(_) => return Ok(TagHead::Unknown),
    };
    match response.status() {
        StatusCode::TOO_MANY_REQUESTS => Err(client.error_of(response).await),
        StatusCode::NOT_FOUND => Ok(TagHead::Absent),
        status if is_content(status) => {
            Ok(stated_digest(&response).map_or(TagHead::Unknown, TagHead::Digest))
        }
        _ => Ok(TagHead::Unknown),
    }
}

/// Requires that the registry lets a manifest be read. Asks for its headers first, which registries with a
/// pull allowance don't count.
pub(crate) async fn require_readable(client: &Client, key: ManifestKey<'_>) -> Result<(), RequestError> {
    let url = client.url(&path(key))?;
    // Some registries refuse HEAD, and an answer to HEAD has no message.
    if is_content(client.read(Method::HEAD, url.clone(), accept()).await?.status()) {
        return Ok(());
    }
    let response = client.read(Method::GET, url, accept()).await?;
    if is_content(response.status()) { Ok(()) } else { Err(client.error_of(response).await) }
}

/// Pushes a manifest under its digest, or under a tag.
pub(crate) async fn push(
    client: &Client,
    manifest: &RawManifest,
    media_type: &HeaderValue,
    tag: Option<&Tag>,
) -> Result<(), RequestError> {
    let key = tag.map_or(ManifestKey::Digest(&manifest.digest), ManifestKey::Tag);
    let mut request = Request::write(Method::PUT, client.url(&path(key))?)
        .timeout(client.timeouts().write_idle)
        .header(CONTENT_TYPE, media_type.clone())
        .body(manifest.bytes.clone());
    if let Some(ecr) = client.ecr() {
        ecr.acquire_put().await;
    }
    let response = client.send(Access::Push, &mut request).await?;
    if is_written(response.status()) { Ok(()) } else { Err(client.error_of(response).await) }
}

/// Every type of manifest, so that a registry doesn't translate one into another.
pub(super) fn accept() -> HeaderValue {
    HeaderValue::from_str(&media_type::ACCEPT.join(", ")).unwrap_or(HeaderValue::from_static("*/*"))
}

fn path(key: ManifestKey<'_>) -> String {
    match key {
        ManifestKey::Tag(tag) => format!("manifests/{tag}"),
        ManifestKey::Digest(digest) => format!("manifests/{digest}"),
    }
}

fn stated_digest(response: &Response) -> Option<Digest> {
    response.headers().get(CONTENT_DIGEST)?.to_str().ok()?.parse().ok()
}

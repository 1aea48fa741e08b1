//! Blobs (distribution specification, "Pulling blobs").

use futures::TryStreamExt as _;
use reqwest::header::HeaderValue;
use reqwest::{Method, StatusCode};
use zstart_core::Digest;

use super::is_content;
use crate::client::Client;
use crate::error::{RequestError, transport_error};
use crate::http::{Chunks, require_throughput};

/// Pulls a blob, in the chunks in which it arrives. The reader compares digest and size.
pub(crate) async fn pull(client: &Client, digest: &Digest) -> Result<Chunks, RequestError> {
    // Always from this repository: a descriptor's `urls` would lead to any host.
    let response = client.read(Method::GET, client.url(&format!("blobs/{digest}"))?, any()).await?;
    if !is_content(response.status()) {
        return Err(client.error_of(response).await);
    }
    let chunks = response.bytes_stream().map_err(transport_error);
    Ok(require_throughput(Box::pin(chunks), client.min_throughput()))
}

/// Answer to HEAD of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadAnswer {
    Present,
    Absent,
    /// The registry refuses HEAD of every blob: ECR Public with 401 (aws/containers-roadmap#2671), a
    /// storage whose signature is for GET with 403, others with 400, 405 or 501.
    Refused,
}

/// Asks for a blob without its content.
pub(crate) async fn head(client: &Client, digest: &Digest) -> Result<HeadAnswer, RequestError> {
    let response = client.read(Method::HEAD, client.url(&format!("blobs/{digest}"))?, any()).await?;
    let status = response.status();
    if is_content(status) {
        return Ok(HeadAnswer::Present);
    }
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Ok(HeadAnswer::Absent),
        // These pass, and say nothing about HEAD.
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Err(client.error_of(response).await),
        StatusCode::NOT_IMPLEMENTED => Ok(HeadAnswer::Refused),
        status if status.is_server_error() => Err(client.error_of(response).await),
        _ => Ok(HeadAnswer::Refused),
    }
}

pub(super) fn any() -> HeaderValue {
    HeaderValue::from_static("*/*")
}

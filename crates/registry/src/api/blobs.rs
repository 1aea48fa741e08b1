//! Blobs (distribution specification, "Pulling blobs").

use futures::TryStreamExt as _;
use reqwest::header::HeaderValue;
use reqwest::{Method, StatusCode};
use zstart_core::Digest;

use crate::client::Client;
use crate::error::{RequestError, transport_error};
use crate::http::{Chunks, require_throughput};

/// Pulls a blob, in the chunks in which it arrives. The reader compares digest and size.
pub(crate) async fn pull(client: &Client, digest: &Digest) -> Result<Chunks, RequestError> {
    // Always from this repository: a descriptor's `urls` would lead to any host.
    let response = client.read(Method::GET, client.url(&format!("blobs/{digest}"))?, any()).await?;
    if response.status() != StatusCode::OK {
        return Err(client.error_of(response).await);
    }
    let chunks = response.bytes_stream().map_err(transport_error);
    Ok(require_throughput(Box::pin(chunks), client.min_throughput()))
}

/// Whether a blob exists.
pub(crate) async fn exists(client: &Client, digest: &Digest) -> Result<bool, RequestError> {
    let response = client.read(Method::HEAD, client.url(&format!("blobs/{digest}"))?, any()).await?;
    match response.status() {
        StatusCode::OK => Ok(true),
        StatusCode::NOT_FOUND => Ok(false),
        _ => Err(client.error_of(response).await),
    }
}

pub(super) fn any() -> HeaderValue {
    HeaderValue::from_static("*/*")
}

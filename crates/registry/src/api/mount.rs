//! Mounts (distribution specification, "Mounting a blob from another repository").

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use zstart_core::Digest;

use super::is_written;
use super::uploads::Session;
use crate::client::Client;
use crate::error::RequestError;
use crate::operation::Access;
use crate::request::Request;

/// Asks the registry to link a blob of the client's mount source. A registry that doesn't mount, or not this
/// blob, opens an upload session instead, or refuses.
pub(crate) async fn try_mount(client: &Client, digest: &Digest) -> Result<bool, RequestError> {
    let Some(from) = client.mount_source() else { return Ok(false) };
    let mut url = client.url("blobs/uploads/")?;
    url.query_pairs_mut().append_pair("mount", digest.as_str()).append_pair("from", from);
    let mut request =
        Request::write(Method::POST, url).timeout(client.timeouts().write_idle).blob(Bytes::new());
    let response = client.send(Access::Push, &mut request).await?;
    match response.status() {
        StatusCode::CREATED => Ok(true),
        status if is_written(status) => {
            Session::opened_by(client, &request, &response)?.cancel().await;
            Ok(false)
        }
        _ => Err(client.error_of(response).await),
    }
}

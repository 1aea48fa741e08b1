//! Referrers of a manifest (distribution specification, "Listing Referrers"): by the registry's API, or by
//! the tag that clients write if a registry lacks that ("Referrers Tag Schema").

use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use zstart_core::Digest;
use zstart_oci::{Descriptor, MANIFEST_MAX};

use super::{manifests, pagination};
use crate::client::Client;
use crate::error::RequestError;
use crate::http::{error_of, read_bounded};

/// A page of the list.
pub(crate) struct Page {
    /// Referrers of all artifact types.
    pub(crate) referrers: Vec<Descriptor>,
    /// Address of the next page.
    pub(crate) next: Option<Url>,
}

/// An index whose entries name their artifact types.
#[derive(Deserialize)]
struct ReferrersList {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

/// Places where the list may be, in the order to try them.
pub(crate) fn paths(digest: &Digest) -> [String; 2] {
    [format!("referrers/{digest}"), format!("manifests/{}-{}", digest.algorithm(), digest.hex())]
}

/// Reads one page. `None` if the response is no list.
pub(crate) async fn page(client: &Client, url: &Url) -> Result<Option<Page>, RequestError> {
    let response = client.read(Method::GET, url.clone(), manifests::accept()).await?;
    if response.status() != StatusCode::OK {
        return Err(error_of(response, client.timeouts().response).await);
    }
    let next = pagination::next(url, response.headers());
    let bytes = read_bounded(response, MANIFEST_MAX, client.timeouts().response).await?;
    let list: Option<ReferrersList> = serde_json::from_slice(&bytes).ok();
    Ok(list.map(|list| Page { referrers: list.manifests, next }))
}

//! Referrers of a manifest (distribution specification, "Listing Referrers"): by the registry's API, or by
//! the tag that clients write if a registry lacks that ("Referrers Tag Schema").

use reqwest::{Method, Url};
use serde::Deserialize;
use zstart_core::Digest;
use zstart_oci::{Descriptor, MANIFEST_MAX};

use super::pagination::{self, NextPage};
use super::{blobs, is_content, manifests};
use crate::client::Client;
use crate::error::RequestError;

/// A page of the list.
pub(crate) struct ReferrersPage {
    /// Referrers of all artifact types.
    pub(crate) referrers: Vec<Descriptor>,
    pub(crate) next: NextPage,
}

/// An index whose entries name their artifact types.
#[derive(Deserialize)]
struct ReferrersList {
    /// Absent or `null` if there are none.
    manifests: Option<Vec<Descriptor>>,
}

/// Source of the list.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ListKind {
    /// The registry's API.
    Api,
    /// The tag that clients write.
    Tag,
}

impl ListKind {
    /// Both sources, in the order to try them.
    pub(crate) const ALL: [Self; 2] = [Self::Api, Self::Tag];

    /// Address of the first page.
    pub(crate) fn first_page(self, client: &Client, digest: &Digest) -> Result<Url, RequestError> {
        match self {
            Self::Api => client.url(&format!("referrers/{digest}")),
            Self::Tag => client.url(&format!("manifests/{}-{}", digest.algorithm(), digest.hex())),
        }
    }
}

/// Reads one page.
pub(crate) async fn page(client: &Client, kind: ListKind, url: &Url) -> Result<ReferrersPage, RequestError> {
    let accept = match kind {
        ListKind::Api => blobs::any(),
        ListKind::Tag => manifests::accept(),
    };
    let response = client.read(Method::GET, url.clone(), accept).await?;
    if !is_content(response.status()) {
        return Err(client.error_of(response).await);
    }
    let next = pagination::next(url, response.headers());
    let bytes = client.read_bounded(response, MANIFEST_MAX).await?;
    let list: ReferrersList =
        serde_json::from_slice(&bytes).map_err(|_| RequestError::Body { expected: "a list of referrers" })?;
    Ok(ReferrersPage { referrers: list.manifests.unwrap_or_default(), next })
}

//! Tags, page by page (distribution specification, "Listing tags").

use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use zstart_core::Tag;

use super::blobs::any;
use super::is_content;
use super::pagination::{self, NextPage};
use crate::client::Client;
use crate::error::RequestError;

/// Tags asked for in one page. Amazon ECR refuses more.
const PAGE_SIZE: usize = 1000;
/// Largest page that is read, in bytes: a registry without pagination sends all tags at once.
const PAGE_BYTES_MAX: usize = 16 << 20;

/// A page of the list.
pub(crate) struct TagsPage {
    /// Valid tags.
    pub(crate) tags: Vec<Tag>,
    pub(crate) next: NextPage,
}

#[derive(Deserialize)]
struct TagList {
    /// `null` if there are none. Nexus lists `null` among the tags (containers/skopeo#2409).
    tags: Option<Vec<Option<String>>>,
}

/// Address of the first page.
pub(crate) fn first_page(client: &Client) -> Result<Url, RequestError> {
    client.url(&format!("tags/list?n={PAGE_SIZE}"))
}

/// Reads one page. Tags that the specification doesn't allow are left out.
pub(crate) async fn page(client: &Client, url: &Url) -> Result<TagsPage, RequestError> {
    let response = client.read(Method::GET, url.clone(), any()).await?;
    if !is_content(response.status()) {
        return Err(client.error_of(response).await);
    }
    let next = pagination::next(url, response.headers());
    let bytes = client.read_bounded(response, PAGE_BYTES_MAX).await?;
    let list: TagList =
        serde_json::from_slice(&bytes).map_err(|_| RequestError::Body { expected: "a list of tags" })?;
    let tags = list.tags.unwrap_or_default();
    let tags = tags.iter().flatten().filter_map(|tag| tag.parse().ok()).collect();
    Ok(TagsPage { tags, next })
}

/// Whether the registry answers that the repository doesn't exist.
pub(crate) async fn is_repository_missing(client: &Client) -> bool {
    let Ok(url) = client.url("tags/list?n=1") else { return false };
    let response = client.read(Method::GET, url, any()).await;
    response.is_ok_and(|response| response.status() == StatusCode::NOT_FOUND)
}

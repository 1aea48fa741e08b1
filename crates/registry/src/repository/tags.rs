//! The tags of a repository, page by page (distribution specification, "Listing tags").

use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use zstart_core::Tag;

use super::pages::{self, PAGES_MAX};
use super::session::Session;
use super::{answer, pull, retry};
use crate::{Access, RepositoryError, Trouble};

const OPERATION: &str = "list tags";
/// How many tags a page is to have. Amazon ECR refuses to give more.
const PAGE: usize = 1000;
/// Largest page that is read: a registry that knows no pages gives everything at once.
const PAGE_BYTES_MAX: usize = 16 << 20;

/// A page.
#[derive(Deserialize)]
struct Page {
    /// `null` where there are none.
    tags: Option<Vec<String>>,
}

/// All tags, as far as they can be written down; no more than `most`.
pub(super) async fn list(session: &Session, most: usize) -> Result<Vec<Tag>, RepositoryError> {
    let mut found: Vec<Tag> = Vec::new();
    let mut next = session.url(Access::Pull, &format!("tags/list?n={PAGE}"))?;
    for _ in 0..PAGES_MAX {
        let (page, after) = retry::with_retries(session.limits().pause, || read(session, &next)).await?;
        found.extend(page.tags.unwrap_or_default().iter().filter_map(|tag| tag.parse().ok()));
        match after {
            Some(after) if found.len() < most => next = after,
            Some(_) | None => break,
        }
    }
    found.truncate(most);
    Ok(found)
}

async fn read(session: &Session, url: &Url) -> Result<(Page, Option<Url>), RepositoryError> {
    let failed = |message: &str| session.error(Access::Pull, OPERATION, Trouble::Other, message);
    let response = pull::request_at(session, Method::GET, url.clone(), "*/*", OPERATION).await?;
    if response.status() != StatusCode::OK {
        return Err(answer::from_response(session, Access::Pull, OPERATION, response).await);
    }
    let after = pages::next(url, response.headers());
    let bytes = answer::read_bounded(session, Access::Pull, OPERATION, response, PAGE_BYTES_MAX).await?;
    let page = serde_json::from_slice(&bytes).map_err(|_| failed("the answer is not a list of tags"))?;
    Ok((page, after))
}

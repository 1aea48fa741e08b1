//! The tags of a repository, page by page (distribution specification, "Listing tags").

use reqwest::header::{HeaderMap, LINK};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use zstart_core::Tag;

use super::super::{Access, RepositoryError, Trouble};
use super::session::Session;
use super::{answer, pull, retry};

const OPERATION: &str = "list tags";
/// How many tags a page is to have. Amazon ECR refuses to give more.
const PAGE: usize = 1000;
/// Largest page that is read: a registry that knows no pages gives everything at once.
const PAGE_BYTES_MAX: usize = 16 << 20;
/// How many pages are read: a registry that gives few at a time isn't asked for ever.
const PAGES_MAX: usize = 200;

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
    let after = next_page(url, response.headers());
    let bytes = answer::read_bounded(session, Access::Pull, OPERATION, response, PAGE_BYTES_MAX).await?;
    let page = serde_json::from_slice(&bytes).map_err(|_| failed("the answer is not a list of tags"))?;
    Ok((page, after))
}

/// The address in `Link: <…>; rel="next"` (RFC 8288): another page of the same list, or none.
fn next_page(of: &Url, headers: &HeaderMap) -> Option<Url> {
    let links = headers.get_all(LINK).into_iter().filter_map(|value| value.to_str().ok());
    links.flat_map(|value| value.split(',')).find_map(|link| {
        let (address, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters.split(';').any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            name.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"') == "next"
        });
        let url = of.join(address).ok()?;
        (is_next && url.origin() == of.origin() && url.path() == of.path()).then_some(url)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_one_of_the_same_list_and_nothing_else() {
        let of: Url = "https://registry.example/v2/app/tags/list?n=1000".parse().unwrap();
        let next = |link: &'static str| {
            let headers = HeaderMap::from_iter([(LINK, link.parse().unwrap())]);
            next_page(&of, &headers).map(String::from)
        };
        let found = Some("https://registry.example/v2/app/tags/list?last=v9&n=2".to_owned());
        assert_eq!(next("</v2/app/tags/list?last=v9&n=2>; rel=\"next\""), found);
        assert_eq!(next("<https://registry.example/v2/app/tags/list?last=v9&n=2>;rel=next"), found);
        assert_eq!(next("<?a=1>; rel=\"prev\", <?last=v9&n=2>; title=x; REL=next"), found);
        for other in [
            "<?last=v9>; rel=\"prev\"",
            "<https://evil.example/v2/app/tags/list?last=v9>; rel=\"next\"",
            "<http://registry.example/v2/app/tags/list?last=v9>; rel=\"next\"",
            "</v2/other/tags/list?last=v9>; rel=\"next\"",
            "</v2/app/tags/list?last=v9; rel=\"next\"",
            "",
        ] {
            assert_eq!(next(other), None, "{other}");
        }
    }
}

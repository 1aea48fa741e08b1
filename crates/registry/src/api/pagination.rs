//! Pagination of lists (distribution specification, "Listing tags" and "Listing Referrers").

use reqwest::Url;
use reqwest::header::{HeaderMap, LINK};

/// The address in `Link: <…>; rel="next"` (RFC 8288), if it is another page of the same list.
pub(super) fn next(page: &Url, headers: &HeaderMap) -> Option<Url> {
    let links = headers.get_all(LINK).into_iter().filter_map(|value| value.to_str().ok());
    links.flat_map(|value| value.split(',')).find_map(|link| {
        let (address, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters.split(';').any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            name.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"') == "next"
        });
        let url = page.join(address).ok()?;
        (is_next && url.origin() == page.origin() && url.path() == page.path()).then_some(url)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_page_must_belong_to_the_same_list() {
        let page: Url = "https://registry.example/v2/app/tags/list?n=1000".parse().unwrap();
        let next = |link: &'static str| {
            let headers = HeaderMap::from_iter([(LINK, link.parse().unwrap())]);
            super::next(&page, &headers).map(String::from)
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

//! Lists that a registry gives page by page (distribution specification, "Listing tags" and "Listing
//! Referrers").

use reqwest::Url;
use reqwest::header::{HeaderMap, LINK};

/// How many pages are read: a registry that gives few at a time isn't asked for ever.
pub(super) const PAGES_MAX: usize = 200;

/// The address in `Link: <…>; rel="next"` (RFC 8288): another page of the same list, or none.
pub(super) fn next(of: &Url, headers: &HeaderMap) -> Option<Url> {
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
            super::next(&of, &headers).map(String::from)
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

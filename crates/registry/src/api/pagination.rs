//! Pagination of lists (distribution specification, "Listing tags" and "Listing Referrers").

use reqwest::Url;
use reqwest::header::{HeaderMap, LINK};

/// The page after a page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NextPage {
    /// The registry names none: the list is complete.
    End,
    /// Another page of the list.
    At(Url),
    /// The registry names an address that is no page of this list, e.g. a host of its internal network.
    Elsewhere,
}

/// The address in `Link: <…>; rel="next"` (RFC 8288), if it is another page of the same list. Registries
/// behind a proxy that ends TLS name themselves with http; the next page is asked for where this one was.
pub(super) fn next(page: &Url, headers: &HeaderMap) -> NextPage {
    let links = headers.get_all(LINK).into_iter().filter_map(|value| value.to_str().ok());
    let Some((address, _)) = links.flat_map(links_of).find(|(_, parameters)| is_next(parameters)) else {
        return NextPage::End;
    };
    match page.join(address) {
        Ok(url) if url.host_str() == page.host_str() && url.path() == page.path() => {
            let mut next = page.clone();
            next.set_query(url.query());
            NextPage::At(next)
        }
        Ok(_) | Err(_) => NextPage::Elsewhere,
    }
}

/// The addresses of a header's links, each with its parameters. An address may contain commas.
fn links_of(header: &str) -> impl Iterator<Item = (&str, &str)> {
    header.split('<').skip(1).filter_map(|link| link.split_once('>'))
}

/// Whether one of a link's relations is `next`. A link may have several, in either case (RFC 8288, 3.3).
fn is_next(parameters: &str) -> bool {
    parameters.split([';', ',']).any(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or_default();
        let mut relations = value.trim().trim_matches(['"', '\'']).split_ascii_whitespace();
        name.trim().eq_ignore_ascii_case("rel")
            && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
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
            super::next(&page, &headers)
        };
        let at = |query: &str| {
            NextPage::At(format!("https://registry.example/v2/app/tags/list?{query}").parse().unwrap())
        };
        let found = at("last=v9&n=2");
        assert_eq!(next("</v2/app/tags/list?last=v9&n=2>; rel=\"next\""), found);
        assert_eq!(next("<https://registry.example/v2/app/tags/list?last=v9&n=2>;rel=next"), found);
        assert_eq!(next("<?a=1>; rel=\"prev\", <?last=v9&n=2>; title=x; REL=next"), found);
        for link in [
            "<http://registry.example/v2/app/tags/list?last=v9&n=2>; rel=\"next\"",
            "<?last=v9&n=2>; rel=\"first Next\"",
            "<?last=v9&n=2>; rel='next'",
            "<?a=1>; rel=\"prev\",<?last=v9&n=2>; rel=\"next\"",
        ] {
            assert_eq!(next(link), found, "{link}");
        }
        assert_eq!(next("<?last=a,b>; rel=\"next\""), at("last=a,b"));
        for other in [
            "<https://evil.example/v2/app/tags/list?last=v9>; rel=\"next\"",
            "</v2/other/tags/list?last=v9>; rel=\"next\"",
        ] {
            assert_eq!(next(other), NextPage::Elsewhere, "{other}");
        }
        for none in [
            "<?last=v9>; rel=\"prev\"",
            "<?last=v9>; rel=\"nextest\"",
            "</v2/app/tags/list?last=v9; rel=\"next\"",
            "",
        ] {
            assert_eq!(next(none), NextPage::End, "{none}");
        }
    }
}

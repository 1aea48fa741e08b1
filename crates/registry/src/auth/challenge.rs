//! The `WWW-Authenticate` header: the logins that a registry offers.

use reqwest::Url;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

use super::challenge_parser::{self, ParsedChallenge};

/// Longest realm that an error shows, in characters.
const SHOWN_MAX: usize = 100;

/// The logins that a response offers. Unknown schemes are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Challenges {
    /// Tokens from elsewhere, in the registry's order.
    pub(super) bearers: Vec<BearerChallenge>,
    /// Whether a user name and a password suffice (RFC 7617). The realm doesn't matter: credentials belong to
    /// the origin.
    pub(super) has_basic: bool,
    /// Cause that makes an offer of a token unusable.
    pub(super) problem: Option<String>,
}

/// An offer of a token (distribution, "Token Authentication Specification").
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BearerChallenge {
    /// Address of the token server.
    pub(super) realm: Url,
    /// Name of the registry at the token server.
    pub(super) service: Option<String>,
    /// Rights that the refused request needs.
    pub(super) scopes: Vec<String>,
}

/// Reads the challenges in the response of `url`. An unreadable one doesn't hide the others.
pub(super) fn parse(url: &Url, headers: &HeaderMap) -> Challenges {
    let mut challenges = Challenges::default();
    for header in headers.get_all(WWW_AUTHENTICATE) {
        for parsed in challenge_parser::parse(&String::from_utf8_lossy(header.as_bytes())) {
            if parsed.has_scheme("basic") {
                challenges.has_basic = true;
            }
            if parsed.has_scheme("bearer") {
                match bearer(url, &parsed) {
                    Ok(bearer) => challenges.bearers.push(bearer),
                    Err(problem) => challenges.problem = Some(problem),
                }
            }
        }
    }
    challenges
}

fn bearer(url: &Url, challenge: &ParsedChallenge) -> Result<BearerChallenge, String> {
    let text = challenge.parameter("realm").ok_or("no realm")?;
    // Zot names a path on its own host (zot#4033).
    let is_path = text.starts_with('/') && !text.starts_with("//");
    let realm = if is_path { url.join(text) } else { Url::parse(text) };
    let realm = realm.map_err(|error| {
        let shown: String = text.chars().take(SHOWN_MAX).collect();
        format!("realm {shown:?}: {error}")
    })?;
    let scopes = challenge.parameter("scope").unwrap_or_default().split_whitespace();
    Ok(BearerChallenge {
        realm,
        service: challenge.parameter("service").map(ToOwned::to_owned),
        scopes: scopes.map(ToOwned::to_owned).collect(),
    })
}

/// Parses a `WWW-Authenticate` header, for fuzzing.
#[cfg(fuzzing)]
pub fn fuzz_challenge(header: &[u8]) {
    let Ok(header) = reqwest::header::HeaderValue::from_bytes(header) else { return };
    let Ok(url) = Url::parse("https://registry.example/v2/") else { return };
    let challenges = parse(&url, &HeaderMap::from_iter([(WWW_AUTHENTICATE, header)]));
    let limit = |text: &Option<String>| text.as_ref().is_none_or(|text| text.len() < 2000);
    assert!(limit(&challenges.problem), "{:?}", challenges.problem);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenges(headers: &[&'static str]) -> Challenges {
        let mut map = HeaderMap::new();
        for header in headers {
            map.append(WWW_AUTHENTICATE, header.parse().unwrap());
        }
        parse(&"https://registry.example/v2/".parse().unwrap(), &map)
    }

    fn token(realm: &str, service: Option<&str>, scopes: &[&str]) -> BearerChallenge {
        BearerChallenge {
            realm: realm.parse().unwrap(),
            service: service.map(Into::into),
            scopes: scopes.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn challenge_forms_of_known_registries_are_parsed() {
        for (header, expected) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull",error="insufficient_scope""#,
                token(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    &["repository:library/nginx:pull"],
                ),
            ),
            (r#"bearer REALM="https://a.example/t""#, token("https://a.example/t", None, &[])),
            (
                r#"Bearer realm="https://public.ecr.aws/token/",service="public.ecr.aws",scope="aws""#,
                token("https://public.ecr.aws/token/", Some("public.ecr.aws"), &["aws"]),
            ),
            (
                r#"Bearer realm="https://a.example/t",scope="repository:a:pull repository:b:pull""#,
                token("https://a.example/t", None, &["repository:a:pull", "repository:b:pull"]),
            ),
            (
                r#"Bearer realm="/zot/auth/token""#,
                token("https://registry.example/zot/auth/token", None, &[]),
            ),
        ] {
            let found = challenges(&[header]);
            assert_eq!(found.bearers, [expected], "{header}");
            assert_eq!((found.has_basic, found.problem), (false, None), "{header}");
        }
        let ecr = challenges(&[r#"Basic realm="https://x.dkr.ecr.eu-west-1.amazonaws.com/",service="ecr""#]);
        assert_eq!(ecr, Challenges { has_basic: true, ..Challenges::default() });
        assert_eq!(challenges(&[]), Challenges::default());
        assert_eq!(challenges(&["Negotiate"]), Challenges::default());
    }

    #[test]
    fn unreadable_challenge_does_not_hide_the_others() {
        let good = token("https://a.example/t", None, &[]);
        for headers in [
            &[r#"Bearer realm="not an address""#, r#"Bearer realm="https://a.example/t""#][..],
            &["Basic realm=\"\u{e9}\"", r#"Bearer realm="https://a.example/t""#],
            &[r#"Bearer service="x", Bearer realm="https://a.example/t""#],
            &["\"\\", "Negotiate a==", r#"Basic realm=/, Bearer realm="https://a.example/t""#],
        ] {
            assert_eq!(challenges(headers).bearers, std::slice::from_ref(&good), "{headers:?}");
        }
        for headers in [
            &["Basic"][..],
            &["Basic realm=/"],
            &["Basic realm"],
            &["Basic realm=\""],
            &["Bearer", "basic realm=Artifactory Realm"],
            &["Bearer realm=\"not an address\", Basic realm=\"x\""],
        ] {
            let found = challenges(headers);
            assert!(found.has_basic && found.bearers.is_empty(), "{headers:?}: {found:?}");
        }
    }

    #[test]
    fn unusable_challenge_names_the_problem() {
        for (header, said) in [
            (r#"Bearer service="x""#, "no realm"),
            (r#"Bearer realm="auth.example/token""#, "realm \"auth.example/token\": "),
            (r#"Bearer realm="//auth.example/token""#, "realm"),
            (r#"Bearer realm="unfinished"#, "realm \"unfinished\": "),
            ("Bearer realm=", "realm \"\": "),
        ] {
            let found = challenges(&[header]);
            assert!(found.bearers.is_empty() && !found.has_basic, "{header}: {found:?}");
            let problem = found.problem.unwrap_or_default();
            assert!(problem.contains(said), "{header}: {problem}");
        }
    }
}

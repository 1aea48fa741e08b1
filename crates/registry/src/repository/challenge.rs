//! What a registry asks for before it answers: the `WWW-Authenticate` header of its base address.

use http_auth::{ChallengeRef, parse_challenges};
use reqwest::Url;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// Which proof a registry wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// None, or one that isn't named.
    None,
    /// User name and password (RFC 7617).
    Basic,
    /// A token from elsewhere (distribution, "Token Authentication Specification").
    Bearer {
        /// Where tokens are given.
        realm: Url,
        /// Whose tokens they are.
        service: Option<String>,
    },
}

/// Reads the challenge. A token is preferred: it can do less than a password. The error says what is
/// wrong with the header.
pub(super) fn read(headers: &HeaderMap) -> Result<Challenge, String> {
    let mut found = Challenge::None;
    for header in headers.get_all(WWW_AUTHENTICATE) {
        let text = header.to_str().map_err(|_| "it isn't text".to_owned())?;
        for challenge in parse_challenges(text).map_err(|error| error.to_string())? {
            if challenge.scheme.eq_ignore_ascii_case("bearer") {
                return bearer(&challenge);
            }
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                found = Challenge::Basic;
            }
        }
    }
    Ok(found)
}

fn bearer(challenge: &ChallengeRef<'_>) -> Result<Challenge, String> {
    let parameter = |name: &str| {
        let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_unescaped())
    };
    let realm = parameter("realm").ok_or("it names no realm")?;
    let realm = Url::parse(&realm).map_err(|error| format!("its realm {realm:?}: {error}"))?;
    Ok(Challenge::Bearer { realm, service: parameter("service") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(headers: &[&'static str]) -> Result<Challenge, String> {
        let mut map = HeaderMap::new();
        for header in headers {
            map.append(WWW_AUTHENTICATE, header.parse().unwrap());
        }
        read(&map)
    }

    fn token(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.parse().unwrap(), service: service.map(Into::into) }
    }

    #[test]
    fn every_form_that_registries_use_is_understood() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io""#;
        let expected = token("https://auth.docker.io/token", Some("registry.docker.io"));
        assert_eq!(challenge(&[hub]).unwrap(), expected);
        assert_eq!(
            challenge(&[r#"bearer REALM="https://a.example/t""#]).unwrap(),
            token("https://a.example/t", None)
        );
        assert_eq!(
            challenge(&[r#"Basic realm="https://x.dkr.ecr.eu-west-1.amazonaws.com/",service="ecr""#])
                .unwrap(),
            Challenge::Basic
        );
        let both = [r#"Basic realm="x""#, r#"Bearer realm="https://a.example/t""#];
        assert_eq!(challenge(&both).unwrap(), token("https://a.example/t", None));
        assert_eq!(challenge(&[]).unwrap(), Challenge::None);
        assert_eq!(challenge(&["Negotiate"]).unwrap(), Challenge::None);
    }

    #[test]
    fn nonsense_is_an_error_that_says_what_is_wrong() {
        for (header, said) in [
            (r#"Bearer service="x""#, "no realm"),
            (r#"Bearer realm="auth.example/token""#, "realm"),
            (r#"Bearer realm="unfinished"#, ""),
        ] {
            let error = challenge(&[header]).unwrap_err();
            assert!(error.contains(said), "{header}: {error}");
        }
    }
}

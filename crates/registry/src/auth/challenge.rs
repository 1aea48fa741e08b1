//! The `WWW-Authenticate` header: which login a registry wants.

use http_auth::{ChallengeRef, parse_challenges};
use reqwest::Url;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// The login that a registry wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// None, or an unknown scheme.
    None,
    /// User name and password (RFC 7617).
    Basic,
    /// A token from elsewhere (distribution, "Token Authentication Specification").
    Bearer {
        /// Address of the token server.
        realm: Url,
        /// Name of the registry at the token server.
        service: Option<String>,
    },
}

/// Parses the header. Bearer is preferred to Basic: a token has fewer rights than a password. The error says
/// what is wrong with the header.
pub(super) fn parse(headers: &HeaderMap) -> Result<Challenge, String> {
    let mut found = Challenge::None;
    for header in headers.get_all(WWW_AUTHENTICATE) {
        let text = header.to_str().map_err(|_| "not text".to_owned())?;
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
    let realm = parameter("realm").ok_or("no realm")?;
    let realm = Url::parse(&realm).map_err(|error| format!("realm {realm:?}: {error}"))?;
    Ok(Challenge::Bearer { realm, service: parameter("service") })
}

/// Parses a `WWW-Authenticate` header, for fuzzing.
#[cfg(fuzzing)]
pub fn fuzz_challenge(header: &[u8]) {
    let Ok(header) = reqwest::header::HeaderValue::from_bytes(header) else { return };
    let _ = parse(&HeaderMap::from_iter([(WWW_AUTHENTICATE, header)]));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(headers: &[&'static str]) -> Result<Challenge, String> {
        let mut map = HeaderMap::new();
        for header in headers {
            map.append(WWW_AUTHENTICATE, header.parse().unwrap());
        }
        parse(&map)
    }

    fn token(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.parse().unwrap(), service: service.map(Into::into) }
    }

    #[test]
    fn challenge_forms_of_known_registries_are_parsed() {
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
    fn malformed_challenge_error_names_the_problem() {
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

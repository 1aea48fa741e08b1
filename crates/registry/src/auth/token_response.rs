//! Token servers' responses.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::authorization::BearerToken;

/// Life of a token whose server names none, or a shorter one (distribution, "Token Authentication
/// Specification", `expires_in`).
pub(super) const DEFAULT_TTL: Duration = Duration::from_mins(1);
/// Longest use of an authorization before the registry is asked for another one.
pub(super) const MAX_TTL: Duration = Duration::from_hours(1);

/// A token, and its life.
pub(super) struct IssuedToken {
    pub(super) token: BearerToken,
    pub(super) ttl: Duration,
}

impl IssuedToken {
    /// Time to use the token for: three quarters of its life, since a request may need time to arrive.
    pub(super) fn time_of_use(&self) -> Duration {
        self.ttl / 4 * 3
    }
}

/// A token server's response. Other members (`scope`, `issued_at`, `refresh_token` …) don't matter: the time
/// of issue is that of the response.
#[derive(Deserialize)]
struct TokenResponse {
    #[serde(default)]
    token: Value,
    #[serde(default)]
    access_token: Value,
    /// In seconds.
    #[serde(default)]
    expires_in: Value,
}

/// Reads a response. The error says what is wrong.
pub(super) fn parse(body: &[u8]) -> Result<IssuedToken, &'static str> {
    let response: TokenResponse =
        serde_json::from_slice(body).map_err(|_| "is not what the specification says")?;
    // The specification leaves open which of the two counts; docker and containerd take `access_token`.
    let named = [&response.access_token, &response.token];
    let token = named.into_iter().filter_map(Value::as_str).find(|token| !token.is_empty());
    let token = BearerToken::new(token.ok_or("has no token")?.to_owned());
    Ok(IssuedToken { token, ttl: ttl(&response.expires_in) })
}

/// A token's life: a number, also as text. Anything else counts as absent.
fn ttl(expires_in: &Value) -> Duration {
    let seconds = match expires_in {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let seconds = seconds.filter(|seconds: &f64| seconds.is_finite()).unwrap_or_default();
    Duration::from_secs_f64(seconds.clamp(DEFAULT_TTL.as_secs_f64(), MAX_TTL.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_read_among_null_and_unknown_members() {
        for body in [
            r#"{"token":"one"}"#,
            r#"{"access_token":"one"}"#,
            r#"{"token":"","access_token":"one"}"#,
            r#"{"token":"one","access_token":""}"#,
            r#"{"token":null,"access_token":"one","issued_at":null,"expires_in":null}"#,
            r#"{"token":7,"access_token":"one"}"#,
            r#"{"token":"other","access_token":"one","scope":["a"],"x":{"y":[1]},"issued_at":0}"#,
        ] {
            assert_eq!(
                parse(body.as_bytes()).map(|issued| issued.token),
                Ok(BearerToken::new("one".to_owned())),
                "{body}"
            );
        }
        for (body, said) in [
            ("null", "is not what the specification says"),
            ("7", "is not what the specification says"),
            ("<html>", "is not what the specification says"),
            ("{}", "has no token"),
            ("[]", "has no token"),
            (r#"{"token":"","access_token":null}"#, "has no token"),
        ] {
            assert_eq!(parse(body.as_bytes()).map(|issued| issued.token), Err(said), "{body}");
        }
    }

    #[test]
    fn token_life_of_any_type_is_limited() {
        for (expires_in, seconds) in [
            ("300", 300.0),
            ("300.5", 300.5),
            ("\"300\"", 300.0),
            ("\" 3e2 \"", 300.0),
            ("1e300", 3600.0),
            ("99999999999999999999", 3600.0),
            ("86400", 3600.0),
            ("0", 60.0),
            ("-1", 60.0),
            ("\"-1\"", 60.0),
            ("\"NaN\"", 60.0),
            ("\"inf\"", 60.0),
            ("\"soon\"", 60.0),
            ("null", 60.0),
            ("true", 60.0),
            ("[300]", 60.0),
            ("{}", 60.0),
        ] {
            let body = format!(r#"{{"token":"one","expires_in":{expires_in}}}"#);
            let ttl = parse(body.as_bytes()).map(|issued| issued.ttl);
            assert_eq!(ttl, Ok(Duration::from_secs_f64(seconds)), "{expires_in}");
        }
    }
}

//! Allowance of pulls, as a registry's answers state it.

use std::time::Duration;

use reqwest::header::HeaderMap;

/// Allowance of pulls in a window of time (docs.docker.com, "Docker Hub pull usage and limits":
/// `ratelimit-limit: 100;w=21600`). GET of a manifest counts, HEAD doesn't.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Pulls in a window.
    pub limit: u64,
    /// Pulls that are left, for everything with the same address or account.
    pub remaining: u64,
    /// Length of the window.
    pub window: Duration,
}

impl RateLimit {
    /// Reads the headers of a response. `None` if the registry states no allowance, or without its window.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let read = |name: &str| parse(headers.get(name)?.to_str().ok()?);
        let ((limit, window), (remaining, _)) = (read("ratelimit-limit")?, read("ratelimit-remaining")?);
        Some(Self { limit, remaining, window: window? })
    }
}

/// Parses `100;w=21600`: a number, and a window in seconds among the parameters.
fn parse(value: &str) -> Option<(u64, Option<Duration>)> {
    let mut parts = value.split(';').map(str::trim);
    let number = parts.next()?.parse().ok()?;
    let window = parts.find_map(|part| part.strip_prefix("w=")?.parse().ok());
    Some((number, window.map(Duration::from_secs)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&'static str, &'static str)]) -> Option<RateLimit> {
        RateLimit::of(
            &headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect(),
        )
    }

    #[test]
    fn docker_hub_headers_are_read() {
        let found = of(&[("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "76;w=21600")]);
        let window = Duration::from_hours(6);
        assert_eq!(found, Some(RateLimit { limit: 100, remaining: 76, window }));
    }

    #[test]
    fn incomplete_headers_state_no_allowance() {
        for headers in [
            &[("ratelimit-limit", "100;w=21600")][..],
            &[("ratelimit-limit", "100"), ("ratelimit-remaining", "76")],
            &[("ratelimit-limit", "many;w=1"), ("ratelimit-remaining", "76")],
        ] {
            assert_eq!(of(headers), None, "{headers:?}");
        }
    }
}

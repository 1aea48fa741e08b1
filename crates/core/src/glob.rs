//! Patterns with wildcards for image references.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Pattern of a whole text, such as `docker.io/library/*` or `registry.example/*:v?.*`.
///
/// `*` matches any number of characters, none included, and `?` matches exactly one. Both match every
/// character, also `/` and `:`, as the wildcards of Kyverno and of Docker's content trust do. Every other
/// character matches itself; there is no escape, because references contain neither wildcard.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Glob(String);

/// Error for a text that isn't a pattern.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum GlobError {
    /// Empty text.
    #[error("the pattern is empty; write e.g. registry.example/app:v*")]
    Empty,
    /// White space, which no reference has.
    #[error("pattern {text:?} contains white space, which no image reference has")]
    WhiteSpace {
        /// Text as given.
        text: String,
    },
}

impl Glob {
    /// Text of the pattern.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the pattern matches all of `text`.
    ///
    /// Only the last star is tried again after a mismatch, so the time is bounded by the product of both
    /// lengths.
    pub fn matches(&self, text: &str) -> bool {
        let mut pattern = self.0.chars();
        let mut rest = text.chars();
        // Pattern after the last star, and the text from which it was tried.
        let mut star: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
        loop {
            let (mut next_pattern, mut next_rest) = (pattern.clone(), rest.clone());
            match (next_pattern.next(), next_rest.next()) {
                (Some('*'), _) => {
                    pattern = next_pattern;
                    star = Some((pattern.clone(), rest.clone()));
                    continue;
                }
                (None, None) => return true,
                (Some(expected), Some(found)) if expected == '?' || expected == found => {
                    (pattern, rest) = (next_pattern, next_rest);
                    continue;
                }
                _ => {}
            }
            let Some((after_star, tried)) = &mut star else { return false };
            if tried.next().is_none() {
                return false;
            }
            (pattern, rest) = (after_star.clone(), tried.clone());
        }
    }
}

impl FromStr for Glob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        if text.is_empty() {
            return Err(GlobError::Empty);
        }
        if text.contains(char::is_whitespace) {
            return Err(GlobError::WhiteSpace { text: text.to_owned() });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Serialize for Glob {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Glob {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_matches_the_whole_text() {
        for (pattern, text, is_match) in [
            ("docker.io/library/nginx:1.27", "docker.io/library/nginx:1.27", true),
            ("docker.io/library/nginx:1.2", "docker.io/library/nginx:1.27", false),
            ("docker.io/library/nginx:1.27", "docker.io/library/nginx:1.2", false),
            ("docker.io/*", "docker.io/team/app:v1", true),
            ("docker.io/*", "evil.example/docker.io/app:v1", false),
            ("*:v*", "registry.example:5000/team/app:v1.4", true),
            ("*:v*", "registry.example:5000/team/app:latest", false),
            ("*/app:v?", "registry.example/app:v1", true),
            ("*/app:v?", "registry.example/app:v", false),
            ("*/app:v?", "registry.example/app:v12", false),
            ("*-rc*", "registry.example/app:v1-rc-2", true),
            ("*ab", "aab", true),
            ("*b*d", "abcd", true),
            ("*b*d", "abc", false),
            ("a**b", "ab", true),
            ("*", "", true),
            ("?", "", false),
            ("?", "é", true),
        ] {
            assert_eq!(pattern.parse::<Glob>().unwrap().matches(text), is_match, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_take_no_long_time() {
        let pattern: Glob = format!("{}b", "*a".repeat(1000)).parse().unwrap();
        assert!(!pattern.matches(&"a".repeat(10_000)));
    }

    #[test]
    fn empty_patterns_and_white_space_are_refused() {
        assert_eq!("".parse::<Glob>(), Err(GlobError::Empty));
        for text in [" ", "a b", "app:v*\n"] {
            let error = text.parse::<Glob>().unwrap_err().to_string();
            assert!(error.contains("white space"), "{error}");
        }
    }
}

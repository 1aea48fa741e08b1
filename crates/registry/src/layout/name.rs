//! Names of images in a layout.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use zstart_core::{Tag, variant};

/// Name of the form `TAG` or `REPOSITORY:TAG`, e.g. `v1` or `rancher/local:v1`. zstart derives the names of
/// variants from such names, and writes no others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutName {
    /// Part in front of the tag, e.g. `rancher/local`; `None` if the name is a tag.
    pub repository: Option<String>,
    /// Tag.
    pub tag: Tag,
}

/// Error for a text of another form.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("name {text:?} is not of the form TAG or REPOSITORY:TAG, e.g. v1 or rancher/local:v1")]
pub struct LayoutNameError {
    /// Text as given.
    pub text: String,
}

impl LayoutName {
    /// Whether the tag has the form of a variant's.
    pub fn is_variant(&self) -> bool {
        variant::is_variant_tag(&self.tag)
    }
}

impl FromStr for LayoutName {
    type Err = LayoutNameError;

    fn from_str(text: &str) -> Result<Self, LayoutNameError> {
        let (repository, tag) = match text.rsplit_once(':') {
            Some((repository, tag)) => (Some(repository), tag),
            None => (None, text),
        };
        // The alphabet of the annotation's grammar, without the `@` of a digest.
        let is_repository = |text: &str| {
            text.starts_with(|first: char| first.is_ascii_alphanumeric())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:+/".contains(&byte))
        };
        match tag.parse() {
            Ok(tag) if repository.is_none_or(is_repository) => {
                Ok(Self { repository: repository.map(str::to_owned), tag })
            }
            _ => Err(LayoutNameError { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for LayoutName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.repository {
            Some(repository) => write!(formatter, "{repository}:{}", self.tag),
            None => write!(formatter, "{}", self.tag),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_splits_into_repository_and_tag() {
        for (text, repository, tag) in [
            ("v1", None, "v1"),
            ("rancher/local:v1", Some("rancher/local"), "v1"),
            ("localhost:5000/app:v1", Some("localhost:5000/app"), "v1"),
        ] {
            let name: LayoutName = text.parse().unwrap();
            assert_eq!((name.repository.as_deref(), name.tag.as_str()), (repository, tag));
            assert_eq!(name.to_string(), text);
        }
        let digest = zstart_core::Digest::sha256_of(b"x");
        for text in ["", ":v1", "rancher/local", "a b:v1", "app:", &format!("app@{digest}"), "../x:\u{1b}"] {
            assert!(text.parse::<LayoutName>().is_err(), "{text:?}");
        }
        assert!("rancher/local:v1-zstd-0123456789ab".parse::<LayoutName>().unwrap().is_variant());
        assert!(!"rancher/local:v1".parse::<LayoutName>().unwrap().is_variant());
    }
}

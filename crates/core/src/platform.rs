//! Platforms in the notation of users and image indexes: `os/architecture[/variant]`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Operating system and architecture, e.g. `linux/amd64` or `linux/arm/v7`.
///
/// Names are those of the Go toolchain (`GOOS`, `GOARCH`), as the OCI image specification requires
/// (`image-index.md`, "platform"). The labels of Kubernetes nodes use these names as well.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Platform {
    /// Operating system, e.g. `linux`.
    pub os: String,
    /// Architecture, e.g. `amd64`.
    pub architecture: String,
    /// Architecture variant, e.g. `v8`; `None` if the architecture has no variants or none was named.
    pub variant: Option<String>,
}

/// Error for a text that isn't a platform.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("platform {text:?} is not of the form os/architecture[/variant], e.g. linux/amd64 or linux/arm/v7")]
pub struct PlatformError {
    /// Text as given.
    pub text: String,
}

impl Platform {
    /// Creates a platform from names of foreign origin. Returns `None` for an invalid name. An empty
    /// variant counts as no variant.
    pub fn named(os: &str, architecture: &str, variant: Option<&str>) -> Option<Self> {
        let variant = variant.filter(|variant| !variant.is_empty());
        let are_names = [Some(os), Some(architecture), variant].into_iter().flatten().all(is_name);
        are_names.then(|| Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        })
    }

    /// Creates a platform without a variant.
    pub fn new(os: &str, architecture: &str) -> Self {
        Self { os: os.to_owned(), architecture: architecture.to_owned(), variant: None }
    }

    /// Returns whether an image for `image` certainly runs on this platform.
    ///
    /// Operating systems and architectures must be equal. Variants must be equal if both platforms name
    /// one: `arm64` and `arm64/v8` are equal by containerd's normalisation, so an unnamed variant
    /// matches.
    pub fn accepts(&self, image: &Platform) -> bool {
        self.os == image.os
            && self.architecture == image.architecture
            && match (&self.variant, &image.variant) {
                (Some(own), Some(other)) => own == other,
                _ => true,
            }
    }
}

fn is_name(part: &str) -> bool {
    !part.is_empty()
        && part.len() <= 32
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return Err(PlatformError { text: text.to_owned() }),
        };
        let platform = Self::named(os, architecture, variant).filter(|_| variant != Some(""));
        platform.ok_or_else(|| PlatformError { text: text.to_owned() })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(formatter, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl Serialize for Platform {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Platform {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Platform".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let name = "[A-Za-z0-9._-]{1,32}";
        let pattern = format!("^{name}/{name}(/{name})?$");
        schemars::json_schema!({ "type": "string", "maxLength": 98, "pattern": pattern })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platform_round_trips_as_text() {
        for text in ["linux/amd64", "linux/arm/v7", "windows/amd64"] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn invalid_platform_is_refused() {
        for text in ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/amd 64", "linux/arm/"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn named_platform_parses_again_and_bad_names_are_none() {
        let taken = Platform::named("linux", "arm", Some("v7")).unwrap();
        assert_eq!(taken.to_string().parse(), Ok(taken));
        assert_eq!(Platform::named("linux", "amd64", Some("")), Some(Platform::new("linux", "amd64")));
        let long = "v".repeat(33);
        for (os, architecture, variant) in [
            ("", "amd64", None),
            ("linux", "", None),
            ("linux", "amd64", Some("v 8")),
            ("linux", "amd64/v8", None),
            ("linux", "amd64", Some(&*long)),
        ] {
            assert_eq!(Platform::named(os, architecture, variant), None, "{os} {architecture} {variant:?}");
        }
    }

    #[test]
    fn unnamed_variant_matches_and_different_variant_does_not() {
        let arm64 = Platform::new("linux", "arm64");
        assert!(arm64.accepts(&"linux/arm64/v8".parse().unwrap()));
        let v7: Platform = "linux/arm/v7".parse().unwrap();
        assert!(!v7.accepts(&"linux/arm/v6".parse().unwrap()));
        assert!(!v7.accepts(&arm64));
    }
}

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
    /// matches. Spellings don't matter: `linux/x86_64` is `linux/amd64` (see [`normalized`](Self::normalized)).
    pub fn accepts(&self, image: &Platform) -> bool {
        // Most platforms are written as in Go, and a webhook compares many.
        if self == image {
            return true;
        }
        let (own, image) = (self.normalized(), image.normalized());
        own.os == image.os
            && own.architecture == image.architecture
            && match (&own.variant, &image.variant) {
                (Some(own), Some(other)) => own == other,
                _ => true,
            }
    }

    /// Returns this platform in the spelling of the Go toolchain, by the rules of containerd
    /// (`github.com/containerd/platforms`, `database.go`: `normalizeOS`, `normalizeArch`), which apply to the
    /// platforms of users and of images alike. Only for comparisons: a record and a variant's index keep the
    /// platform as written.
    ///
    /// Two rules differ. containerd drops `v8` of arm64 and `v1` of amd64, and adds `v7` to arm. Here the
    /// variant stays as written, because an unnamed variant accepts every variant.
    #[must_use]
    pub fn normalized(&self) -> Self {
        let os = match self.os.to_ascii_lowercase() {
            os if os == "macos" => "darwin".to_owned(),
            os => os,
        };
        let architecture = self.architecture.to_ascii_lowercase();
        let variant = self.variant.as_ref().map(|variant| variant.to_ascii_lowercase());
        let (architecture, variant) = match (&*architecture, variant.as_deref()) {
            ("i386", _) => ("386", None),
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", Some("8")) => ("arm64", Some("v8")),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf", _) | ("arm", Some("7")) => ("arm", Some("v7")),
            ("armel", _) | ("arm", Some("6")) => ("arm", Some("v6")),
            ("arm", Some("5")) => ("arm", Some("v5")),
            ("arm", Some("8")) => ("arm", Some("v8")),
            (architecture, variant) => (architecture, variant),
        };
        Self { os, architecture: architecture.to_owned(), variant: variant.map(str::to_owned) }
    }

    /// Whether the operating system is Windows.
    pub fn is_windows(&self) -> bool {
        self.os.eq_ignore_ascii_case("windows")
    }

    /// Whether operating system or architecture is `unknown`, as in the index entries of attestations.
    pub fn is_unknown(&self) -> bool {
        [&self.os, &self.architecture].into_iter().any(|name| name.eq_ignore_ascii_case("unknown"))
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
    fn spellings_that_containerd_takes_for_one_platform_match() {
        let parse = |text: &str| text.parse::<Platform>().unwrap();
        for (own, image) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/x86-64", "linux/amd64"),
            ("Linux/AMD64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64/v8"),
            ("linux/aarch64/8", "linux/arm64/v8"),
            ("linux/arm64/8", "linux/arm64/v8"),
            ("linux/arm/7", "linux/arm/v7"),
            ("linux/arm/V7", "linux/arm/v7"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/arm/5", "linux/arm/v5"),
            ("linux/arm/8", "linux/arm/v8"),
            ("linux/i386", "linux/386"),
            ("macos/arm64", "darwin/arm64"),
        ] {
            assert!(parse(own).accepts(&parse(image)), "{own} {image}");
            assert!(parse(image).accepts(&parse(own)), "{image} {own}");
            assert_eq!(parse(own).to_string(), own, "the spelling stays as written");
        }
        for (own, image) in [
            ("linux/armhf", "linux/arm/v6"),
            ("linux/armel", "linux/arm/v7"),
            ("linux/arm64/v8", "linux/arm64/v9"),
            ("linux/amd64/v1", "linux/amd64/v2"),
            ("linux/aarch64", "linux/arm"),
            ("linux/i386", "linux/amd64"),
        ] {
            assert!(!parse(own).accepts(&parse(image)), "{own} {image}");
        }
    }

    #[test]
    fn windows_and_unknown_are_recognised_in_any_case() {
        assert!(Platform::new("Windows", "amd64").is_windows());
        assert!(!Platform::new("linux", "windows").is_windows());
        assert!(Platform::new("unknown", "Unknown").is_unknown());
        assert!(!Platform::new("linux", "amd64").is_unknown());
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

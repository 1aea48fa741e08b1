//! Container runtimes, by the version that a node reports, and the runtimes that may get a zstd image.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Name of containerd in a node's runtime version.
const CONTAINERD: &str = "containerd";
/// Name of CRI-O in a node's runtime version.
const CRIO: &str = "cri-o";
/// First versions that unpack OCI `tar+zstd` layers. No setting goes below them.
const FIRST_WITH_ZSTD: [(&str, Version); 3] =
    [(CONTAINERD, Version(1, 5)), (CRIO, Version(1, 16)), ("docker", Version(23, 0))];

/// Container runtime of a node: `status.nodeInfo.containerRuntimeVersion`, e.g. `containerd://2.1.6`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Runtime {
    reported: String,
    /// A zstd layer couldn't be unpacked on the node.
    failed_to_unpack: bool,
}

/// Major and minor version of a runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(u64, u64);

/// Runtimes that may get a zstd image, each with its lowest version. Default: containerd 1.5.
///
/// CRI-O and Docker are left out by default: CRI-O resolves a name without a host by its own configuration
/// (`unqualified-search-registries`), and neither was tried with zstart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupportedRuntimes(BTreeMap<String, Version>);

/// Error for a setting that lists no usable runtime.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RuntimeError {
    /// Text that isn't a version.
    #[error("version {text:?} is not of the form MAJOR.MINOR, e.g. 1.5")]
    Version {
        /// Text as given.
        text: String,
    },
    /// Name that no node reports.
    #[error("runtime {name:?} is no name that nodes report; write e.g. containerd, cri-o or docker")]
    Name {
        /// Name as given.
        name: String,
    },
    /// Version that can't start a zstd image.
    #[error("{name} {version} can't start a zstd image; {name} can since {first}")]
    TooOld {
        /// Name of the runtime.
        name: String,
        /// Version as given.
        version: Version,
        /// First version that can.
        first: Version,
    },
}

impl Runtime {
    /// Takes the text that a node reports. An unparsable text is kept, and supports nothing.
    pub fn new(reported: &str) -> Self {
        Self { reported: reported.to_owned(), failed_to_unpack: false }
    }

    /// The text that the node reports.
    pub fn reported(&self) -> &str {
        &self.reported
    }

    /// Returns the same runtime on a node where a zstd layer couldn't be unpacked, or could. Such a runtime counts
    /// as unsupported.
    #[must_use]
    pub fn with_failed_unpack(self, failed_to_unpack: bool) -> Self {
        Self { failed_to_unpack, ..self }
    }

    /// Name of the runtime, e.g. `containerd`; empty if the text has no name.
    pub fn name(&self) -> &str {
        self.reported.split_once("://").map_or("", |(name, _)| name)
    }

    /// Version; `None` if the text has no readable one.
    pub fn version(&self) -> Option<Version> {
        Version::parse_prefix(self.reported.split_once("://")?.1)
    }

    /// Returns whether the runtime resolves a name without a host by its own list of registries.
    pub fn searches_registries(&self) -> bool {
        self.name() == CRIO
    }

    /// Returns whether the runtime refuses an image without an entry for the node's platform. containerd
    /// does (`core/images/image.go`, `Manifest`); others start the image under an emulator, if there is one.
    pub fn refuses_other_platforms(&self) -> bool {
        self.name() == CONTAINERD
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reported)?;
        if self.failed_to_unpack { formatter.write_str(", which failed to unpack zstd") } else { Ok(()) }
    }
}

impl Version {
    /// Parses the first two numbers of `1.7.27+bottlerocket`, `v2.0.0-rc.1` or `1.7.23-k3s2`.
    fn parse_prefix(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix('v').unwrap_or(text).split('.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?;
        let digits = minor.find(|character: char| !character.is_ascii_digit()).unwrap_or(minor.len());
        Some(Self(major, minor[..digits].parse().ok()?))
    }
}

impl FromStr for Version {
    type Err = RuntimeError;

    fn from_str(text: &str) -> Result<Self, RuntimeError> {
        Self::parse_prefix(text).ok_or_else(|| RuntimeError::Version { text: text.to_owned() })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.0, self.1)
    }
}

impl Default for SupportedRuntimes {
    fn default() -> Self {
        Self(BTreeMap::from([(CONTAINERD.to_owned(), Version(1, 5))]))
    }
}

impl SupportedRuntimes {
    /// Parses names and lowest versions.
    pub fn parse<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, RuntimeError> {
        let parse = |(name, version): (&str, &str)| {
            let is_name =
                name.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'-' | b'0'..=b'9'));
            if name.is_empty() || !is_name {
                return Err(RuntimeError::Name { name: name.to_owned() });
            }
            let version: Version = version.parse()?;
            let first = FIRST_WITH_ZSTD.iter().find(|(known, _)| *known == name).map(|(_, first)| *first);
            match first {
                Some(first) if version < first => {
                    Err(RuntimeError::TooOld { name: name.to_owned(), version, first })
                }
                _ => Ok((name.to_owned(), version)),
            }
        };
        Ok(Self(entries.into_iter().map(parse).collect::<Result<_, _>>()?))
    }

    /// Returns whether `runtime` may get a zstd image. An unreadable version counts as unsupported.
    pub fn include(&self, runtime: &Runtime) -> bool {
        let lowest = self.0.get(runtime.name()).filter(|_| !runtime.failed_to_unpack);
        lowest.zip(runtime.version()).is_some_and(|(lowest, version)| version >= *lowest)
    }
}

impl fmt::Display for SupportedRuntimes {
    /// Prints e.g. `containerd 1.5 or later, cri-o 1.16 or later`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (name, version)) in self.0.iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            write!(formatter, "{comma}{name} {version} or later")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_all() -> SupportedRuntimes {
        SupportedRuntimes::parse([("containerd", "1.5"), ("cri-o", "1.16"), ("docker", "23.0")]).unwrap()
    }

    #[test]
    fn supported_runtimes_are_recognised() {
        for version in [
            "containerd://2.1.6",
            "containerd://1.5.0",
            "containerd://1.7.27+bottlerocket",
            "containerd://1.7.23-k3s2",
            "containerd://v2.0.0-rc.1",
            "containerd://2.4",
            "containerd://1.10x",
            "cri-o://1.31.0",
            "docker://28.2.2",
        ] {
            assert!(with_all().include(&Runtime::new(version)), "{version}");
        }
    }

    #[test]
    fn old_unknown_and_unparsable_runtimes_are_unsupported() {
        for version in [
            "",
            "containerd",
            "containerd://",
            "containerd://Unknown",
            "containerd://1.4.13",
            "containerd://x.y",
            "containerd://2",
            "docker://20.10.7",
            "cri-o://1.15.9",
            "rkt://9.9.9",
        ] {
            assert!(!with_all().include(&Runtime::new(version)), "{version}");
        }
    }

    #[test]
    fn runtime_that_failed_to_unpack_is_unsupported() {
        let runtime = Runtime::new("containerd://2.1.6").with_failed_unpack(true);
        assert!(!with_all().include(&runtime));
        assert_eq!(runtime.to_string(), "containerd://2.1.6, which failed to unpack zstd");
        assert!(with_all().include(&runtime.with_failed_unpack(false)));
    }

    #[test]
    fn crio_and_docker_are_unsupported_until_listed() {
        let default = SupportedRuntimes::default();
        assert!(default.include(&Runtime::new("containerd://1.5.0")));
        for version in ["cri-o://1.31.0", "docker://28.2.2"] {
            assert!(!default.include(&Runtime::new(version)), "{version}");
        }
        let crio_only = SupportedRuntimes::parse([("cri-o", "1.30")]).unwrap();
        assert!(crio_only.include(&Runtime::new("cri-o://1.31.0")));
        assert!(!crio_only.include(&Runtime::new("cri-o://1.29.0")));
        assert!(!crio_only.include(&Runtime::new("containerd://2.1.6")));
    }

    #[test]
    fn versions_without_zstd_are_refused_as_a_setting() {
        let error = |name, version| SupportedRuntimes::parse([(name, version)]).unwrap_err().to_string();
        assert_eq!(
            error("containerd", "1.4"),
            "containerd 1.4 can't start a zstd image; containerd can since 1.5"
        );
        assert!(error("containerd", "two").contains("MAJOR.MINOR"));
        assert!(error("containerd://", "1.5").contains("no name that nodes report"));
        assert_eq!(
            with_all().to_string(),
            "containerd 1.5 or later, cri-o 1.16 or later, docker 23.0 or later"
        );
    }
}

//! Image references, normalised as by Docker and containerd.
//!
//! The grammar is that of `github.com/distribution/reference`: the first component is a host only if it
//! looks like a host, a bare name gets the prefix `docker.io/library/`, and a reference without tag and
//! digest gets the tag `latest`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::{Digest, DigestError};

mod grammar;
#[cfg(test)]
mod tests;

/// Longest repository name with its host: `NameTotalLengthMax` of the grammar.
const MAX_NAME_LENGTH: usize = 255;
/// Registry of a reference without a host.
const DOCKER_HUB: &str = "docker.io";

/// Valid tag by the distribution specification: `[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

/// Normalised reference: registry, repository, and a tag, a digest or both.
///
/// A reference prints in full (`nginx` prints `docker.io/library/nginx:latest`), and the printed text
/// parses to an equal reference.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    version: Version,
}

/// Tag, digest or both. At least one of the two is always present.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Version {
    Tag(Tag),
    Digest(Digest),
    /// The digest decides; the tag is for people.
    Both(Tag, Digest),
}

/// Error for a text that isn't an image reference.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ReferenceError {
    /// Empty text, or only white space.
    #[error("the image reference is empty; write e.g. registry.example/app:v1")]
    Empty,
    /// Scheme in front of the registry, e.g. `https://`.
    #[error("image reference {text:?} starts with a scheme; remove everything up to ://")]
    Scheme {
        /// Text as given.
        text: String,
    },
    /// Registry that isn't a host name or address with an optional port.
    #[error("image reference {text:?} has an invalid registry {registry:?}")]
    Registry {
        /// Text as given.
        text: String,
        /// Faulty part.
        registry: String,
    },
    /// Repository with a path component that breaks the grammar.
    #[error(
        "image reference {text:?} has an invalid repository {repository:?}: \
         lower-case letters, digits and single separators (. _ - /) are allowed"
    )]
    Repository {
        /// Text as given.
        text: String,
        /// Faulty part.
        repository: String,
    },
    /// Registry and repository that exceed 255 characters together.
    #[error("image reference {text:?} is too long: at most 255 characters before tag and digest")]
    TooLong {
        /// Text as given.
        text: String,
    },
    /// Tag that breaks the grammar.
    #[error(
        "image reference {text:?} has an invalid tag {tag:?}: at most 128 letters, digits, \
         dots, underscores and dashes, not starting with a dot or a dash"
    )]
    Tag {
        /// Text as given.
        text: String,
        /// Faulty part.
        tag: String,
    },
    /// Text after the `@` that isn't a digest.
    #[error("image reference {text:?} has an invalid digest")]
    Digest {
        /// Text as given.
        text: String,
        /// Cause.
        source: DigestError,
    },
}

impl Tag {
    /// Text of the tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Wraps a text that is a valid tag by construction.
    pub(crate) fn from_valid(text: String) -> Self {
        debug_assert!(grammar::is_tag(&text), "{text} is not a tag");
        Self(text)
    }
}

impl FromStr for Tag {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if grammar::is_tag(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ReferenceError::Tag { text: text.to_owned(), tag: text.to_owned() })
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Reference {
    /// Host and port, e.g. `docker.io` or `registry.example:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Name inside the registry, e.g. `library/nginx`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Registry and repository, e.g. `docker.io/library/nginx`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Tag, if the reference names one.
    pub fn tag(&self) -> Option<&Tag> {
        match &self.version {
            Version::Tag(tag) | Version::Both(tag, _) => Some(tag),
            Version::Digest(_) => None,
        }
    }

    /// Digest, if the reference names one. The digest, not the tag, then decides which image is pulled.
    pub fn digest(&self) -> Option<&Digest> {
        match &self.version {
            Version::Digest(digest) | Version::Both(_, digest) => Some(digest),
            Version::Tag(_) => None,
        }
    }

    /// `<reference>` of the distribution API: the digest if there is one, otherwise the tag.
    pub fn version(&self) -> &str {
        match &self.version {
            Version::Tag(tag) => tag.as_str(),
            Version::Digest(digest) | Version::Both(_, digest) => digest.as_str(),
        }
    }

    /// Returns the shortest reference to this image, without a tag if there is a digest. References with
    /// equal identities always name one image, so the identity is the key of a record.
    #[must_use]
    pub fn identity(&self) -> Self {
        match self.digest() {
            Some(digest) => self.with_digest(digest.clone()),
            None => self.clone(),
        }
    }

    /// Returns a reference to `tag` in this repository.
    #[must_use]
    pub fn with_tag(&self, tag: Tag) -> Self {
        self.with_version(Version::Tag(tag))
    }

    /// Returns a reference to `digest` in this repository, without a tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        self.with_version(Version::Digest(digest))
    }

    /// Returns `repository:tag@digest` in this repository: pinned by the digest, readable by the tag.
    #[must_use]
    pub fn with_tag_and_digest(&self, tag: Tag, digest: Digest) -> Self {
        self.with_version(Version::Both(tag, digest))
    }

    fn with_version(&self, version: Version) -> Self {
        Self { registry: self.registry.clone(), repository: self.repository.clone(), version }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(given: &str) -> Result<Self, ReferenceError> {
        let text = given.to_owned();
        if given.trim().is_empty() {
            return Err(ReferenceError::Empty);
        }
        if given.contains("://") {
            return Err(ReferenceError::Scheme { text });
        }
        let (rest, digest) = match given.split_once('@') {
            Some((rest, digest)) => match digest.parse() {
                Ok(digest) => (rest, Some(digest)),
                Err(source) => return Err(ReferenceError::Digest { text, source }),
            },
            None => (given, None),
        };
        let (name, tag) = split_tag(rest);
        let (registry, repository) = split_name(name);
        if !grammar::is_registry(&registry) {
            return Err(ReferenceError::Registry { text, registry });
        }
        if !grammar::is_repository(&repository) || grammar::is_image_id(name) {
            return Err(ReferenceError::Repository { text, repository });
        }
        if registry.len() + 1 + repository.len() > MAX_NAME_LENGTH {
            return Err(ReferenceError::TooLong { text });
        }
        let tag = match tag {
            Some(tag) if !grammar::is_tag(tag) => {
                return Err(ReferenceError::Tag { text, tag: tag.to_owned() });
            }
            tag => tag.map(|tag| Tag(tag.to_owned())),
        };
        let version = match (tag, digest) {
            (Some(tag), Some(digest)) => Version::Both(tag, digest),
            (None, Some(digest)) => Version::Digest(digest),
            (tag, None) => Version::Tag(tag.unwrap_or_else(|| Tag("latest".to_owned()))),
        };
        Ok(Self { registry, repository, version })
    }
}

/// Splits a tag off. A colon before the last slash belongs to the port.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    let after_slash = text.rfind('/').map_or(0, |slash| slash + 1);
    match text[after_slash..].split_once(':') {
        Some((last, tag)) => (&text[..after_slash + last.len()], Some(tag)),
        None => (text, None),
    }
}

/// Returns the name in a reference as its author wrote it, without tag and digest.
pub fn written_name(reference: &str) -> &str {
    split_tag(reference.split_once('@').map_or(reference, |(rest, _)| rest)).0
}

/// Returns whether the author of a reference named the registry. The container runtime chooses the registry
/// of other references: containerd and Docker take Docker Hub, CRI-O takes
/// `unqualified-search-registries` of its configuration.
pub fn names_registry(reference: &str) -> bool {
    written_name(reference).split_once('/').is_some_and(|(first, _)| grammar::looks_like_host(first))
}

/// Splits a name into registry and repository, with Docker Hub's defaults filled in.
fn split_name(name: &str) -> (String, String) {
    let (registry, path) = match name.split_once('/') {
        Some((first, path)) if grammar::looks_like_host(first) => (first, path),
        _ => (DOCKER_HUB, name),
    };
    // `index.docker.io` is Docker Hub's name in old clients.
    let registry = if registry == "index.docker.io" { DOCKER_HUB } else { registry };
    if registry == DOCKER_HUB && !path.contains('/') {
        (registry.to_owned(), format!("library/{path}"))
    } else {
        (registry.to_owned(), path.to_owned())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.registry, self.repository)?;
        match &self.version {
            Version::Tag(tag) => write!(formatter, ":{tag}"),
            Version::Digest(digest) => write!(formatter, "@{digest}"),
            Version::Both(tag, digest) => write!(formatter, ":{tag}@{digest}"),
        }
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

impl Serialize for Reference {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Reference {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Reference".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        // 255 for the name, 1 + 128 for a tag, 1 + 135 for a digest.
        schemars::json_schema!({ "type": "string", "minLength": 1, "maxLength": 520 })
    }
}

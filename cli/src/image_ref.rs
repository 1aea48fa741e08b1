//! Images as users name them: a registry reference, an OCI layout folder, or an archive of one.
//!
//! The notation of layouts is skopeo's (containers/image, `oci/internal/oci_util.go`): the folder ends at the
//! first colon, and a name may be a whole reference.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;
use zstart_core::digest::DigestError;
use zstart_core::reference::ReferenceError;
use zstart_core::{Digest, Reference, Tag};
use zstart_registry::{LayoutName, LayoutSelection};

use self::transport::UnsupportedTransport;
use crate::error::CliError;

mod open;
mod transport;

pub(crate) use open::{ManifestSelector, SourceImage};

/// Reference to an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ImageRef {
    /// In a registry.
    Registry { reference: Reference, version: Version },
    /// In an OCI layout.
    Layout { place: LayoutPlace, selection: LayoutSelection },
}

/// Place of an OCI layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LayoutPlace {
    /// Folder.
    Folder(PathBuf),
    /// Tar archive of a folder.
    Archive(PathBuf),
}

/// Origin of a registry reference's tag or digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// The user wrote it.
    Explicit,
    /// The tag is `latest` by default.
    Default,
}

/// Error for a text that names no image.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum ImageRefError {
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error(transparent)]
    Transport(#[from] UnsupportedTransport),
    #[error("{text:?} names no folder; write oci:FOLDER, oci:FOLDER:NAME or oci:FOLDER@DIGEST")]
    NoFolder { text: String },
    #[error(
        "{text:?} names no file; write oci-archive:FILE, oci-archive:FILE:NAME or oci-archive:FILE@DIGEST"
    )]
    NoFile { text: String },
    /// Blobs are read at their offsets, in any order and more than once.
    #[error("stdin can't be read as an archive, because zstart reads files at their offsets; name a file")]
    Stdin,
    /// Helm's notation for a registry.
    #[error(
        "{text:?} starts with oci://, which tells neither a registry from a folder; write docker://{rest} for a \
         registry, or oci:FOLDER for a folder"
    )]
    OciScheme { text: String, rest: String },
    #[error("{text:?} starts with oci://, which is no form of a folder; write oci:{path}")]
    OciSchemePath { text: String, path: String },
    #[error("{text:?} has an invalid digest")]
    Digest {
        text: String,
        #[source]
        source: DigestError,
    },
    #[error("{text:?} has an invalid position {position:?}; write a number, e.g. :@0 for the first image")]
    Position { text: String, position: String },
}

impl FromStr for ImageRef {
    type Err = ImageRefError;

    fn from_str(text: &str) -> Result<Self, ImageRefError> {
        if let Some(rest) = text.strip_prefix("docker://") {
            return Self::registry(rest);
        }
        if let Some(rest) = text.strip_prefix("oci://") {
            let (text, rest) = (text.to_owned(), rest.to_owned());
            return Err(match rest.chars().next() {
                None => ImageRefError::NoFolder { text },
                // A registry's name has no slash in front.
                Some('/') => ImageRefError::OciSchemePath { text, path: rest },
                Some(_) => ImageRefError::OciScheme { text, rest },
            });
        }
        if let Some(rest) = text.strip_prefix("oci:") {
            let (folder, selection) = split_layout(text, rest)?;
            if folder.is_empty() {
                return Err(ImageRefError::NoFolder { text: text.to_owned() });
            }
            return Ok(Self::Layout { place: LayoutPlace::Folder(folder.into()), selection });
        }
        if let Some(rest) = text.strip_prefix("oci-archive:") {
            let (file, selection) = split_layout(text, rest)?;
            return match file {
                "" => Err(ImageRefError::NoFile { text: text.to_owned() }),
                "-" => Err(ImageRefError::Stdin),
                file => Ok(Self::Layout { place: LayoutPlace::Archive(file.into()), selection }),
            };
        }
        transport::require_supported(text)?;
        Self::registry(text)
    }
}

/// Splits the part after the transport into folder or file, and image.
fn split_layout<'a>(text: &str, rest: &'a str) -> Result<(&'a str, LayoutSelection), ImageRefError> {
    let digest = |digest: &str| {
        let parsed = digest.parse::<Digest>().map(LayoutSelection::Digest);
        parsed.map_err(|source| ImageRefError::Digest { text: text.to_owned(), source })
    };
    let Some((path, name)) = rest.split_once(':') else { return Ok((rest, LayoutSelection::Only)) };
    // The first colon may be that of a digest.
    if let Some((path, algorithm @ ("sha256" | "sha512"))) = path.rsplit_once('@') {
        return Ok((path, digest(&format!("{algorithm}:{name}"))?));
    }
    let selection =
        match name.strip_prefix('@') {
            Some(position) if position.contains(':') => digest(position)?,
            Some(position) => LayoutSelection::Position(position.parse().map_err(|_| {
                ImageRefError::Position { text: text.to_owned(), position: position.to_owned() }
            })?),
            None if name.is_empty() => LayoutSelection::Only,
            None => LayoutSelection::Name(name.to_owned()),
        };
    Ok((path, selection))
}

impl fmt::Display for LayoutPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(formatter, "oci:{}", folder.display()),
            Self::Archive(file) => write!(formatter, "oci-archive:{}", file.display()),
        }
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry { reference, version: _ } => write!(formatter, "{reference}"),
            Self::Layout { place, selection } => match selection {
                LayoutSelection::Only => write!(formatter, "{place}"),
                LayoutSelection::Position(position) => write!(formatter, "{place}:@{position}"),
                LayoutSelection::Name(name) => write!(formatter, "{place}:{name}"),
                LayoutSelection::Digest(digest) => write!(formatter, "{place}@{digest}"),
            },
        }
    }
}

impl ImageRef {
    fn registry(text: &str) -> Result<Self, ImageRefError> {
        let last = text.rsplit('/').next().unwrap_or(text);
        let version = if last.contains([':', '@']) { Version::Explicit } else { Version::Default };
        Ok(Self::Registry { reference: text.parse()?, version })
    }

    /// Returns the tag that the user chose for a target; `None` if zstart derives the tag.
    pub(crate) fn target_tag(&self) -> Result<Option<Tag>, CliError> {
        Ok(self.target_name()?.map(|name| name.tag))
    }

    /// Returns the name that the user chose for a target; `None` if zstart derives the tag.
    fn target_name(&self) -> Result<Option<LayoutName>, CliError> {
        let target = || self.to_string();
        match self {
            Self::Registry { reference, version: _ } if reference.digest().is_some() => {
                Err(CliError::TargetDigest { target: target() })
            }
            Self::Registry { reference, version: Version::Explicit } => {
                Ok(reference.tag().cloned().map(|tag| LayoutName { repository: None, tag }))
            }
            Self::Registry { reference: _, version: Version::Default } => Ok(None),
            Self::Layout { place: LayoutPlace::Archive(_), selection: _ } => {
                Err(CliError::TargetArchive { target: target() })
            }
            Self::Layout { place: LayoutPlace::Folder(_), selection } => match selection {
                LayoutSelection::Only => Ok(None),
                LayoutSelection::Name(name) => match name.parse() {
                    Ok(name) => Ok(Some(name)),
                    Err(source) => Err(CliError::TargetName { target: target(), source }),
                },
                LayoutSelection::Position(_) | LayoutSelection::Digest(_) => {
                    Err(CliError::TargetDigest { target: target() })
                }
            },
        }
    }

    /// Refuses a source whose place can't have the variant too.
    pub(crate) fn require_writable(&self) -> Result<(), CliError> {
        match self {
            Self::Layout { place: LayoutPlace::Archive(_), selection: _ } => {
                Err(CliError::SourceArchive { archive: self.to_string() })
            }
            Self::Layout { place: LayoutPlace::Folder(_), selection: _ } | Self::Registry { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    fn parse(text: &str) -> Result<ImageRef, String> {
        text.parse().map_err(|error: ImageRefError| error.to_string())
    }

    #[test]
    fn layout_notation_is_that_of_skopeo() {
        let name = |name: &str| LayoutSelection::Name(name.to_owned());
        let digest = LayoutSelection::Digest(format!("sha256:{HEX}").parse().unwrap());
        for (rest, path, selection) in [
            ("folder", "folder", LayoutSelection::Only),
            ("folder:", "folder", LayoutSelection::Only),
            ("folder:v1", "folder", name("v1")),
            ("/a/b:rancher/local:v1", "/a/b", name("rancher/local:v1")),
            ("/a/b:c/d", "/a/b", name("c/d")),
            ("f:localhost:5000/app:v1", "f", name("localhost:5000/app:v1")),
            (&format!("f:app@sha256:{HEX}"), "f", name(&format!("app@sha256:{HEX}"))),
            (&format!("a@b@sha256:{HEX}"), "a@b", digest.clone()),
            (&format!("f:@sha256:{HEX}"), "f", digest),
            ("f:@0", "f", LayoutSelection::Position(0)),
            ("a@b:v1", "a@b", name("v1")),
            ("5000/app:v1", "5000/app", name("v1")),
        ] {
            for (transport, place) in [
                ("oci", LayoutPlace::Folder(path.into())),
                ("oci-archive", LayoutPlace::Archive(path.into())),
            ] {
                let parsed = parse(&format!("{transport}:{rest}"));
                assert_eq!(parsed, Ok(ImageRef::Layout { place, selection: selection.clone() }), "{rest}");
                let again = parsed.unwrap().to_string();
                assert_eq!(parse(&again), parse(&format!("{transport}:{rest}")), "{again}");
            }
        }
    }

    #[test]
    fn incomplete_layout_shows_the_form_to_write() {
        for (text, said) in [
            ("oci:", "write oci:FOLDER, oci:FOLDER:NAME or oci:FOLDER@DIGEST"),
            ("oci::v1", "names no folder"),
            (&format!("oci:@sha256:{HEX}"), "names no folder"),
            ("oci-archive:", "write oci-archive:FILE,"),
            ("oci-archive:-", "stdin can't be read"),
            ("oci-archive:-:v1", "stdin can't be read"),
            ("oci:f@sha256:abc", "invalid digest"),
            ("oci:f:@-1", "invalid position \"-1\""),
            ("oci://registry.example/app:v1", "write docker://registry.example/app:v1 for a registry"),
            ("oci:///tmp/app:v1", "; write oci:/tmp/app:v1"),
            ("oci://", "write oci:FOLDER, oci:FOLDER:NAME"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn docker_prefix_names_a_registry() {
        for text in ["app", "app:v1", "localhost:5000/app", "docker:dind", "registry:2", "dir/app", "oci"] {
            assert_eq!(parse(&format!("docker://{text}")), parse(text), "{text}");
            assert!(matches!(parse(text), Ok(ImageRef::Registry { .. })), "{text}");
        }
        assert!(parse("docker://docker://app").unwrap_err().contains("starts with a scheme"));
        assert!(parse("docker://").unwrap_err().contains("is empty"));
    }

    #[test]
    fn reference_without_tag_has_the_default_version() {
        let Ok(ImageRef::Registry { reference, version }) = "localhost:5000/app".parse() else { panic!() };
        assert_eq!(reference.to_string(), "localhost:5000/app:latest");
        assert_eq!(version, Version::Default);
        assert!(matches!("app:v1".parse(), Ok(ImageRef::Registry { version: Version::Explicit, .. })));
    }

    #[test]
    fn target_needs_a_name_that_can_be_written() {
        let tag = |text: &str| {
            let tag = parse(text).unwrap().target_tag();
            tag.map(|tag| tag.map(|tag| tag.to_string())).map_err(|error| error.to_string())
        };
        assert_eq!(tag("oci:f"), Ok(None));
        assert_eq!(tag("oci:f:rancher/local:v1"), Ok(Some("v1".to_owned())));
        assert_eq!(tag("registry.example/app"), Ok(None));
        assert!(tag("oci:f:rancher/local").unwrap_err().contains("oci:f:rancher/local"));
        for text in [format!("oci:f@sha256:{HEX}"), "oci:f:@0".to_owned(), format!("app@sha256:{HEX}")] {
            assert!(tag(&text).unwrap_err().contains("can't be chosen"), "{text}");
        }
        assert!(tag("oci-archive:f.tar:v1").unwrap_err().contains("oci:FOLDER"));
        assert!(parse("oci-archive:f.tar").unwrap().require_writable().is_err());
    }
}

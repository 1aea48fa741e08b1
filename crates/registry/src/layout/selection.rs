//! Choice of one image of a layout.

use std::fmt;

use thiserror::Error;
use zstart_core::Digest;

use super::name::LayoutName;

/// Highest number of images that an error lists.
const CHOICES_MAX: usize = 20;

/// Image of a layout, as a user names it (containers/image, `oci/internal/oci_util.go`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayoutSelection {
    /// The only image. Variants don't count unless the layout holds nothing but variants.
    Only,
    /// The image at this position of `index.json`, from 0.
    Position(usize),
    /// The image of this name.
    Name(String),
    /// The manifest or index of this digest, which `index.json` need not list.
    Digest(Digest),
}

/// Image that a layout lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutImage {
    /// Digest of the manifest or index.
    pub digest: Digest,
    /// Name that selects this image and no other one; `None` if there is none. Names of another form are left
    /// out: the file's author chose them, a user copies them into a shell, and `@1` is a position.
    pub name: Option<LayoutName>,
    /// Platform, if `index.json` says so.
    pub platform: Option<String>,
}

/// Images of a layout with the arguments that select them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutChoices {
    /// Layout, e.g. `oci:FOLDER`.
    pub layout: String,
    /// Images, in the order of `index.json`.
    pub images: Vec<LayoutImage>,
}

/// A selection that matches no image, or several.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SelectionError {
    /// The layout lists no image.
    #[error("index.json lists no image; write one there first, or name another layout")]
    Empty,
    /// No image has this name.
    #[error("index.json names no image {name:?}; name one of these: {choices}")]
    NoSuchName {
        /// Name as given.
        name: String,
        /// All images.
        choices: LayoutChoices,
    },
    /// The index is shorter.
    #[error("index.json has no position {position}, only {count} entries, counted from 0")]
    NoSuchPosition {
        /// Position as given.
        position: usize,
        /// Number of entries.
        count: usize,
    },
    /// The entry names no image.
    #[error("entry {position} of index.json, counted from 0, is malformed ({reason}); name another image")]
    Unreadable {
        /// Position of the entry.
        position: usize,
        /// The parser's error.
        reason: String,
    },
    /// Several images, and none was named.
    #[error("index.json lists {} images; name one of these: {choices}", choices.images.len())]
    Ambiguous {
        /// All images.
        choices: LayoutChoices,
    },
    /// Several images have this name.
    #[error(
        "index.json names {} different images {name:?}; name one by its digest: {choices}",
        choices.images.len()
    )]
    AmbiguousName {
        /// Name as given.
        name: String,
        /// The images of this name.
        choices: LayoutChoices,
    },
}

impl SelectionError {
    /// Whether the layout has no such image.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Empty | Self::NoSuchName { .. } | Self::NoSuchPosition { .. } => true,
            Self::Unreadable { .. } | Self::Ambiguous { .. } | Self::AmbiguousName { .. } => false,
        }
    }
}

impl fmt::Display for LayoutChoices {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { layout, images } = self;
        for (index, LayoutImage { digest, name, platform }) in images.iter().take(CHOICES_MAX).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            match name {
                Some(name) => write!(formatter, "{comma}{layout}:{name}")?,
                None => write!(formatter, "{comma}{layout}@{digest}")?,
            }
            if let Some(platform) = platform {
                write!(formatter, " ({platform})")?;
            }
        }
        match images.len().saturating_sub(CHOICES_MAX) {
            0 => Ok(()),
            more => write!(formatter, " and {more} more"),
        }
    }
}

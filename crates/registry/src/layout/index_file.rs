//! `index.json`: the list of a layout's images, with unknown members kept.

use std::collections::BTreeSet;
use std::io;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use zstart_core::variant::VariantTag;
use zstart_core::{Digest, VariantNames};
use zstart_oci::{JsonError, RawObject, media_type};

use super::entry::{Entry, EntryImage, EntryNames};
use super::name::LayoutName;
use super::selection::{LayoutChoices, LayoutImage, LayoutSelection, SelectionError};

/// File with the list of images.
pub(super) const INDEX_FILE: &str = "index.json";
/// File that marks a layout and has its version.
pub(super) const MARKER_FILE: &str = "oci-layout";
/// Version of the layout (OCI image specification, `image-layout.md`).
const VERSION: &str = "1.0.0";

/// A layout's list of images.
#[derive(Clone, Debug)]
pub struct LayoutIndex {
    /// Layout, for messages, e.g. `oci:FOLDER`.
    layout: String,
    object: RawObject,
    entries: Vec<Entry>,
}

/// Image of a well-formed entry.
#[derive(Clone, Copy)]
struct Listed<'a> {
    names: &'a EntryNames,
    image: &'a EntryImage,
}

#[derive(Serialize, Deserialize)]
struct Marker {
    #[serde(rename = "imageLayoutVersion")]
    version: String,
}

/// Content of the marker file.
pub(super) fn marker() -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(&Marker { version: VERSION.to_owned() })?)
}

/// Content of the index file of a layout without images.
pub(super) fn empty_index() -> io::Result<Vec<u8>> {
    let empty = serde_json::json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": []});
    Ok(serde_json::to_vec(&empty)?)
}

/// Checks the version in a marker file. A layout without that file is read, as skopeo and crane read it.
pub(super) fn check_marker(bytes: &[u8]) -> io::Result<()> {
    let invalid = |text: String| Err(io::Error::new(io::ErrorKind::InvalidData, text));
    match serde_json::from_slice::<Marker>(bytes) {
        // The specification has no other version, and promises nothing about later ones.
        Ok(Marker { version }) if version == VERSION => Ok(()),
        Ok(Marker { version }) => {
            invalid(format!("{MARKER_FILE} has version {version:?}; zstart knows version {VERSION}"))
        }
        Err(error) => invalid(format!("{MARKER_FILE} is malformed: {error}")),
    }
}

impl LayoutIndex {
    /// Parses `index.json`.
    pub(super) fn parse(layout: &str, bytes: &[u8]) -> io::Result<Self> {
        let invalid = |error: JsonError| {
            let text = format!("{INDEX_FILE} is malformed: {}", zstart_core::chain(&error));
            io::Error::new(io::ErrorKind::InvalidData, text)
        };
        let object = RawObject::parse(bytes).map_err(invalid)?;
        // `umoci init` writes null.
        let entries: Vec<Box<RawValue>> = object.get("manifests").map_err(invalid)?.unwrap_or_default();
        let entries = entries.into_iter().map(Entry::new).collect();
        Ok(Self { layout: layout.to_owned(), object, entries })
    }

    /// Names of the images, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.images().filter_map(|image| image.names.ref_name.clone())
    }

    /// Names `digest`. An older entry of this name is removed. All other entries keep their bytes.
    pub(super) fn put(
        &mut self,
        name: &LayoutName,
        media_type: &str,
        digest: &Digest,
        size: u64,
    ) -> Result<Vec<u8>, JsonError> {
        let old = name.to_string();
        self.entries.retain(|entry| entry.names.ref_name.as_ref() != Some(&old));
        self.entries.push(Entry::named(name, media_type, digest, size)?);
        let entries: Vec<&RawValue> = self.entries.iter().map(Entry::raw).collect();
        self.object.set("manifests", &entries)?;
        self.object.to_bytes()
    }

    /// Finds the image that a selection means.
    pub fn select(&self, selection: &LayoutSelection) -> Result<LayoutImage, SelectionError> {
        match selection {
            LayoutSelection::Only => self.only(),
            LayoutSelection::Digest(digest) => {
                Ok(LayoutImage { digest: digest.clone(), name: None, platform: None })
            }
            &LayoutSelection::Position(position) => match self.entries.get(position) {
                Some(entry) => match listed(entry) {
                    Some(image) => Ok(self.image(image)),
                    None => Err(unreadable(position, entry)),
                },
                None => Err(SelectionError::NoSuchPosition { position, count: self.entries.len() }),
            },
            LayoutSelection::Name(name) => self.by_name(name),
        }
    }

    fn by_name(&self, name: &str) -> Result<LayoutImage, SelectionError> {
        let named = self.named(name);
        match named[..] {
            // As in a reference, the digest decides, and the name is for people.
            [] if let Some(digest) = digest_in(name) => {
                Ok(LayoutImage { digest, name: None, platform: None })
            }
            [] => match self.first_unreadable(|entry| entry.names.all().any(|own| own == name)) {
                Some(error) => Err(error),
                None if self.images().next().is_none() => Err(self.no_image()),
                None => {
                    let choices = self.choices(self.images());
                    Err(SelectionError::NoSuchName { name: name.to_owned(), choices })
                }
            },
            [first, ..] if is_one_image(&named) => {
                Ok(LayoutImage { name: name.parse().ok(), ..self.image(first) })
            }
            _ => {
                let choices = self.choices(named.into_iter());
                Err(SelectionError::AmbiguousName { name: name.to_owned(), choices })
            }
        }
    }

    /// Finds the only image. A conversion adds a variant to its source's layout, and the same command must mean
    /// the source again.
    fn only(&self) -> Result<LayoutImage, SelectionError> {
        let all = prefer_images(self.images().collect());
        let sources: Vec<Listed<'_>> = all.iter().filter(|image| !self.is_variant(image)).copied().collect();
        let images = if sources.is_empty() { all } else { sources };
        // One image may have several names.
        let first = images.iter().find(|image| self.unique_name(image).is_some()).or(images.first());
        match first {
            None => Err(self.no_image()),
            Some(&first) if is_one_image(&images) => Ok(self.image(first)),
            Some(_) => Err(SelectionError::Ambiguous { choices: self.choices(images.into_iter()) }),
        }
    }

    /// All entries that name an image.
    fn images(&self) -> impl Iterator<Item = Listed<'_>> {
        self.entries.iter().filter_map(listed)
    }

    /// The error of a list without images.
    fn no_image(&self) -> SelectionError {
        self.first_unreadable(|_| true).unwrap_or(SelectionError::Empty)
    }

    /// The error of the first malformed entry that fits.
    fn first_unreadable(&self, fits: impl Fn(&Entry) -> bool) -> Option<SelectionError> {
        let mut entries = self.entries.iter().enumerate();
        let (position, entry) = entries.find(|(_, entry)| entry.image.is_err() && fits(entry))?;
        Some(unreadable(position, entry))
    }

    /// Images of a name: those that have it as `ref.name`, otherwise those that have it as containerd's name.
    fn named(&self, name: &str) -> Vec<Listed<'_>> {
        let by = |own: fn(&EntryNames) -> &Option<String>| {
            prefer_images(self.images().filter(|image| own(image.names).as_deref() == Some(name)).collect())
        };
        let named = by(|names| &names.ref_name);
        if named.is_empty() { by(|names| &names.containerd) } else { named }
    }

    /// Name of an entry that selects its image and no other one.
    fn unique_name(&self, image: &Listed<'_>) -> Option<LayoutName> {
        let mut unique = image.names.all().filter(|name| is_one_image(&self.named(name)));
        unique.find_map(|name| name.parse().ok())
    }

    /// Returns whether the image is a variant of another one in the list. The form of a name proves nothing: a user's
    /// tag may have it too.
    fn is_variant(&self, image: &Listed<'_>) -> bool {
        let Some(name) = image.names.layout_name().filter(LayoutName::is_variant) else { return false };
        let Some(VariantTag { stem, source: short, content: _ }) = VariantTag::parse(&name.tag) else {
            return false;
        };
        // The source of a name without a tag need not be listed: it may be an image of an index.
        let Some(stem) = stem else { return true };
        self.images().filter(|source| source.image.digest != image.image.digest).any(|source| {
            let digest = &source.image.digest;
            // An older variant has the tag of its source, which names a newer image now.
            let has_stem = |source: LayoutName| {
                let names = VariantNames::new(Some(&source.tag), digest);
                source.repository == name.repository && names.has_stem(stem)
            };
            digest.short() == short || source.names.layout_name().is_some_and(has_stem)
        })
    }

    fn image(&self, image: Listed<'_>) -> LayoutImage {
        let EntryImage { digest, media_type: _, platform } = image.image;
        LayoutImage { digest: digest.clone(), name: self.unique_name(&image), platform: platform.clone() }
    }

    fn choices<'a>(&self, images: impl Iterator<Item = Listed<'a>>) -> LayoutChoices {
        LayoutChoices { layout: self.layout.clone(), images: images.map(|image| self.image(image)).collect() }
    }
}

/// The image of an entry; `None` for a malformed entry.
fn listed(entry: &Entry) -> Option<Listed<'_>> {
    let image = entry.image.as_ref().ok()?;
    Some(Listed { names: &entry.names, image })
}

fn unreadable(position: usize, entry: &Entry) -> SelectionError {
    let reason = entry.image.as_ref().err().cloned().unwrap_or_default();
    SelectionError::Unreadable { position, reason }
}

/// The entries that are images or indexes, or all of them if none is. An entry without a media type may be one.
fn prefer_images(entries: Vec<Listed<'_>>) -> Vec<Listed<'_>> {
    let is_image = |entry: &&Listed<'_>| {
        let media_type = entry.image.media_type.as_deref();
        media_type.is_none_or(|media_type| media_type::ACCEPT.contains(&media_type))
    };
    let images: Vec<Listed<'_>> = entries.iter().filter(is_image).copied().collect();
    if images.is_empty() { entries } else { images }
}

fn is_one_image(images: &[Listed<'_>]) -> bool {
    images.iter().map(|image| &image.image.digest).collect::<BTreeSet<_>>().len() == 1
}

/// Digest at the end of a name, as in `v1@sha256:…`.
fn digest_in(name: &str) -> Option<Digest> {
    name.rsplit_once('@')?.1.parse().ok()
}

#[cfg(test)]
mod tests;

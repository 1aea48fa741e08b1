//! `index.json`: the list of a layout's images, with unknown members kept.

use std::collections::BTreeSet;
use std::io;

use serde::{Deserialize, Serialize};
use zstart_core::Digest;
use zstart_oci::{Descriptor, JsonError, RawObject, media_type};

use super::name::LayoutName;
use super::selection::{LayoutChoices, LayoutImage, LayoutSelection, SelectionError};

/// File with the list of images.
pub(super) const INDEX_FILE: &str = "index.json";
/// File that marks a layout and has its version.
pub(super) const MARKER_FILE: &str = "oci-layout";
/// The annotation that holds an entry's name.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation with an image's whole name if [`REF_NAME`] has the tag alone, as BuildKit, `ctr` and `docker
/// save` write them (containerd, `core/images/annotations.go`).
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// Version of the layout (OCI image specification, `image-layout.md`).
const VERSION: &str = "1.0.0";

/// A layout's list of images.
#[derive(Clone, Debug)]
pub struct LayoutIndex {
    /// Layout, for messages, e.g. `oci:FOLDER`.
    layout: String,
    object: RawObject,
    entries: Vec<Descriptor>,
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
        let entries = object.get("manifests").map_err(invalid)?.unwrap_or_default();
        Ok(Self { layout: layout.to_owned(), object, entries })
    }

    /// Names of the images, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.entries.iter().filter_map(|entry| annotation(entry, REF_NAME))
    }

    /// Names `digest`. An older entry of this name is removed.
    pub(super) fn put(
        &mut self,
        name: &LayoutName,
        media_type: &str,
        digest: &Digest,
        size: u64,
    ) -> Result<Vec<u8>, JsonError> {
        let name = name.to_string();
        self.entries.retain(|entry| annotation(entry, REF_NAME).is_none_or(|own| own != name));
        let mut entry = Descriptor::new(media_type, digest.clone(), size)?;
        entry.annotate(REF_NAME, &name)?;
        self.entries.push(entry);
        self.object.set("manifests", &self.entries)?;
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
                Some(entry) => Ok(self.image(entry)),
                None => Err(SelectionError::NoSuchPosition { position, count: self.entries.len() }),
            },
            LayoutSelection::Name(name) => {
                let named = self.named(name);
                match named[..] {
                    // As in a reference, the digest decides, and the name is for people.
                    [] if let Some(digest) = digest_in(name) => {
                        Ok(LayoutImage { digest, name: None, platform: None })
                    }
                    [] if self.entries.is_empty() => Err(SelectionError::Empty),
                    [] => {
                        let choices = self.choices(self.entries.iter());
                        Err(SelectionError::NoSuchName { name: name.clone(), choices })
                    }
                    [first, ..] if is_one_image(&named) => {
                        Ok(LayoutImage { name: name.parse().ok(), ..self.image(first) })
                    }
                    _ => {
                        let choices = self.choices(named.into_iter());
                        Err(SelectionError::AmbiguousName { name: name.clone(), choices })
                    }
                }
            }
        }
    }

    /// Finds the only image. A conversion adds a variant to its source's layout, and the same command must mean
    /// the source again.
    fn only(&self) -> Result<LayoutImage, SelectionError> {
        let all: Vec<&Descriptor> = images(self.entries.iter().collect());
        let sources: Vec<&Descriptor> = all.iter().filter(|entry| !is_variant(entry)).copied().collect();
        let images = if sources.is_empty() { all } else { sources };
        // One image may have several names.
        let first = images.iter().find(|entry| self.unique_name(entry).is_some()).or(images.first());
        match first {
            None => Err(SelectionError::Empty),
            Some(first) if is_one_image(&images) => Ok(self.image(first)),
            Some(_) => Err(SelectionError::Ambiguous { choices: self.choices(images.into_iter()) }),
        }
    }

    /// Entries of a name: those that have it as `ref.name`, otherwise those that have it as containerd's name.
    fn named(&self, name: &str) -> Vec<&Descriptor> {
        let by = |key| {
            let named =
                self.entries.iter().filter(|entry| annotation(entry, key).is_some_and(|own| own == name));
            images(named.collect())
        };
        let named = by(REF_NAME);
        if named.is_empty() { by(CONTAINERD_NAME) } else { named }
    }

    /// Name of an entry that selects its image and no other one.
    fn unique_name(&self, entry: &Descriptor) -> Option<LayoutName> {
        let mut unique = names(entry).into_iter().filter(|name| is_one_image(&self.named(name)));
        unique.find_map(|name| name.parse().ok())
    }

    fn image(&self, entry: &Descriptor) -> LayoutImage {
        let platform = entry.platform().ok().flatten().map(|platform| platform.to_string());
        LayoutImage { digest: entry.digest().clone(), name: self.unique_name(entry), platform }
    }

    fn choices<'a>(&self, entries: impl Iterator<Item = &'a Descriptor>) -> LayoutChoices {
        LayoutChoices {
            layout: self.layout.clone(),
            images: entries.map(|entry| self.image(entry)).collect(),
        }
    }
}

/// The entries that are images or indexes, or all of them if none is.
fn images(entries: Vec<&Descriptor>) -> Vec<&Descriptor> {
    let is_image = |entry: &&Descriptor| media_type::ACCEPT.contains(&entry.media_type());
    let images: Vec<&Descriptor> = entries.iter().filter(|entry| is_image(entry)).copied().collect();
    if images.is_empty() { entries } else { images }
}

fn is_one_image(entries: &[&Descriptor]) -> bool {
    entries.iter().map(|entry| entry.digest()).collect::<BTreeSet<_>>().len() == 1
}

/// Whether the name has the form of a variant's.
fn is_variant(entry: &Descriptor) -> bool {
    let name = annotation(entry, REF_NAME).and_then(|name| name.parse::<LayoutName>().ok());
    name.is_some_and(|name| name.is_variant())
}

/// Names of an entry, the one for users first.
fn names(entry: &Descriptor) -> Vec<String> {
    [REF_NAME, CONTAINERD_NAME].into_iter().filter_map(|key| annotation(entry, key)).collect()
}

/// Digest at the end of a name, as in `v1@sha256:…`.
fn digest_in(name: &str) -> Option<Digest> {
    name.rsplit_once('@')?.1.parse().ok()
}

fn annotation(entry: &Descriptor, key: &str) -> Option<String> {
    entry.annotations().ok()?.remove(key).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests;

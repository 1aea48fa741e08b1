//! Entries of `index.json`, read one by one: a malformed entry keeps its bytes and hides no other entry.

use serde_json::value::{RawValue, to_raw_value};
use zstart_core::Digest;
use zstart_oci::{Descriptor, JsonError, RawObject};

use super::name::LayoutName;

/// The annotation that holds an entry's name.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation with an image's whole name if [`REF_NAME`] has the tag alone, as BuildKit, `ctr` and `docker
/// save` write them (containerd, `core/images/annotations.go`).
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// Entry of the list, as written.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    raw: Box<RawValue>,
    pub(super) names: EntryNames,
    /// The image, or the reason why the entry names none.
    pub(super) image: Result<EntryImage, String>,
}

/// Names of an entry.
#[derive(Clone, Debug, Default)]
pub(super) struct EntryNames {
    /// The name for users.
    pub(super) ref_name: Option<String>,
    /// The name that containerd gives.
    pub(super) containerd: Option<String>,
}

/// Image that an entry names. Its size is not needed: the digest decides about the content.
#[derive(Clone, Debug)]
pub(super) struct EntryImage {
    pub(super) digest: Digest,
    /// Media type as written.
    pub(super) media_type: Option<String>,
    /// Platform, if the entry has one.
    pub(super) platform: Option<String>,
}

impl Entry {
    /// Reads an entry, which may be any JSON value.
    pub(super) fn new(raw: Box<RawValue>) -> Self {
        let (names, image) = match RawObject::parse(raw.get().as_bytes()) {
            Ok(object) => (EntryNames::of(&object), EntryImage::of(&object)),
            Err(error) => (EntryNames::default(), Err(error)),
        };
        Self { raw, names, image: image.map_err(|error| zstart_core::chain(&error)) }
    }

    /// Creates the entry of an image.
    pub(super) fn named(
        name: &LayoutName,
        media_type: &str,
        digest: &Digest,
        size: u64,
    ) -> Result<Self, JsonError> {
        let mut entry = Descriptor::new(media_type, digest.clone(), size)?;
        entry.annotate(REF_NAME, &name.to_string())?;
        let raw = to_raw_value(&entry).map_err(|source| JsonError::Write { name: "manifests", source })?;
        Ok(Self::new(raw))
    }

    /// The entry's bytes.
    pub(super) fn raw(&self) -> &RawValue {
        &self.raw
    }
}

impl EntryNames {
    fn of(object: &RawObject) -> Self {
        let mut annotations = object.annotations().unwrap_or_default();
        let mut name = |key| annotations.remove(key).filter(|value| !value.is_empty());
        Self { ref_name: name(REF_NAME), containerd: name(CONTAINERD_NAME) }
    }

    /// All names, the one for users first.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        [&self.ref_name, &self.containerd].into_iter().flatten().map(String::as_str)
    }

    /// The name for users, if zstart could have written it.
    pub(super) fn layout_name(&self) -> Option<LayoutName> {
        self.ref_name.as_deref()?.parse().ok()
    }
}

impl EntryImage {
    fn of(object: &RawObject) -> Result<Self, JsonError> {
        Ok(Self {
            digest: object.require("digest")?,
            media_type: object.get("mediaType")?,
            platform: object.platform().ok().flatten().map(|platform| platform.to_string()),
        })
    }
}

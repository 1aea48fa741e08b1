//! Names of variants.
//!
//! A variant's tag names its source and its content: `<stem>-zstd-<source digest>-<content hash>`. The content
//! hash makes a tag final: another platform, level or method gives another tag, so a tag is written once and
//! never moved. Registries with immutable tags accept such tags, and rules that expire untagged images never
//! touch a variant that pods run.
//!
//! Earlier versions named the source alone (`<stem>-zstd-<source digest>`), and moved the tag to each new
//! variant. Variants with such a tag are still found and used.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::digest::{Algorithm, Digest};
use crate::reference::{Reference, Tag};

#[cfg(test)]
mod tests;

/// Longest source tag that is kept whole: 128, less `-zstd-`, twelve digits, a dash and eight digits.
const MAX_STEM_LENGTH: usize = 101;
/// Longest source tag that the first form keeps whole: 128, less `-zstd-` and twelve digits.
const FIRST_FORM_MAX_STEM_LENGTH: usize = 110;
/// Length of a dash and the short hash that end a cut stem.
const STEM_HASH_LENGTH: usize = 13;
/// Digits of a source digest in a tag.
const SOURCE_DIGITS: usize = 12;
/// Digits of a content hash. A source has a few variants, and a conversion compares digests before it takes a
/// tag for its own.
const CONTENT_DIGITS: usize = 8;

/// Error for a reference that has no variant.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SourceError {
    /// The reference names a variant, which needs no conversion.
    #[error("{reference} is already a variant made by zstart")]
    AlreadyVariant {
        /// Reference as given.
        reference: Reference,
    },
    /// The reference has another digest than SHA-256, the only algorithm that runtimes report.
    #[error("{reference} is not named by a SHA-256 digest: use the image's sha256 digest, or its tag")]
    UnsupportedDigest {
        /// Reference as given.
        reference: Reference,
    },
}

/// Hash of a variant's content, as its tag carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentHash(String);

impl ContentHash {
    /// Hash of a variant's converted manifests, in any order, and of its settings annotation.
    pub fn of<'a>(manifests: impl IntoIterator<Item = &'a Digest>, settings: &str) -> Self {
        let sorted: BTreeSet<&Digest> = manifests.into_iter().collect();
        let mut text = String::new();
        for digest in sorted {
            text.push_str(digest.as_str());
            text.push('\n');
        }
        text.push_str(settings);
        Self(Digest::sha256_of(text.as_bytes()).hex()[..CONTENT_DIGITS].to_owned())
    }
}

/// Tags that the variants of one source digest can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariantNames {
    prefix: String,
    first_form: Tag,
}

impl VariantNames {
    /// Names for `source` while it resolves to `digest`. In a reference with a digest, the tag is for people
    /// only.
    pub fn of(source: &Reference, digest: &Digest) -> Self {
        Self::new(if source.digest().is_some() { None } else { source.tag() }, digest)
    }

    /// Names for a source that was named by `source_tag`, or by digest if `source_tag` is `None`.
    ///
    /// `v1.4` becomes `v1.4-zstd-1a2b3c4d5e6f-…`; a digest becomes `sha256-1a2b3c4d5e6f-zstd-…`. A source tag
    /// over 101 characters is cut and made unique by a hash.
    pub fn new(source_tag: Option<&Tag>, digest: &Digest) -> Self {
        let short = digest.short();
        let (prefix, first_form) = if let Some(tag) = source_tag {
            let named = |max| format!("{}-zstd-{short}", stem(tag.as_str(), max));
            (format!("{}-", named(MAX_STEM_LENGTH)), named(FIRST_FORM_MAX_STEM_LENGTH))
        } else {
            let first_form = format!("{}-{short}-zstd", digest.algorithm());
            (format!("{first_form}-"), first_form)
        };
        // At most 110 characters of a valid tag, six fixed characters and twelve digits. A property test checks
        // the validity.
        Self { prefix, first_form: Tag::from_valid(first_form) }
    }

    /// Start of every tag, up to the content hash.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Tag of the variant with this content.
    pub fn tag(&self, content: &ContentHash) -> Tag {
        Tag::from_valid(format!("{}{}", self.prefix, content.0))
    }

    /// Tag that earlier versions of zstart wrote, without a content hash.
    pub fn first_form(&self) -> &Tag {
        &self.first_form
    }

    /// Returns whether `stem` is the start of these tags, perhaps of one form only: the forms cut a long source
    /// tag at different lengths.
    pub fn has_stem(&self, stem: &str) -> bool {
        let names = [self.prefix.as_str(), self.first_form.as_str()];
        names.iter().filter_map(|name| name.rsplit_once("-zstd-")).any(|(own, _)| own == stem)
    }

    /// Returns whether a variant of this source digest can have `tag`, in either form.
    pub fn contains(&self, tag: &Tag) -> bool {
        let content = tag.as_str().strip_prefix(&self.prefix);
        tag == &self.first_form || content.is_some_and(|content| is_hex(content, CONTENT_DIGITS))
    }
}

fn stem(tag: &str, max: usize) -> String {
    if tag.len() <= max {
        return tag.to_owned();
    }
    // Tags are ASCII, so any byte is a character boundary.
    format!("{}-{}", &tag[..max - STEM_HASH_LENGTH], Digest::sha256_of(tag.as_bytes()).short())
}

/// Parts of a tag that has the form of a variant's. The form is no proof that zstart pushed the tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VariantTag<'a> {
    /// Source's tag, perhaps cut; `None` for a source that was named by digest.
    pub stem: Option<&'a str>,
    /// First twelve digits of the source digest.
    pub source: &'a str,
    /// Digits of the content hash; `None` in the first form.
    pub content: Option<&'a str>,
}

impl<'a> VariantTag<'a> {
    /// Splits a variant's tag; `None` if the tag has another form.
    pub fn parse(tag: &'a Tag) -> Option<Self> {
        let text = tag.as_str();
        if let Some(source) = text.strip_suffix("-zstd").and_then(short_digest) {
            return Some(Self { stem: None, source, content: None });
        }
        let (stem, rest) = text.rsplit_once("-zstd-").filter(|(stem, _)| !stem.is_empty())?;
        if is_hex(rest, CONTENT_DIGITS) {
            return Some(Self { stem: None, source: short_digest(stem)?, content: Some(rest) });
        }
        let (source, content) = match rest.split_once('-') {
            Some((source, content)) => (source, Some(content)),
            None => (rest, None),
        };
        let is_form =
            is_hex(source, SOURCE_DIGITS) && content.is_none_or(|content| is_hex(content, CONTENT_DIGITS));
        is_form.then_some(Self { stem: Some(stem), source, content })
    }
}

/// Digits of `sha256-DIGITS`.
fn short_digest(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("sha256-").or_else(|| text.strip_prefix("sha512-"))?;
    is_hex(digits, SOURCE_DIGITS).then_some(digits)
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns whether `tag` has the form of a variant's. The form is no proof that zstart pushed the tag.
pub fn is_variant_tag(tag: &Tag) -> bool {
    VariantTag::parse(tag).is_some()
}

/// Returns whether the tag of `reference` has the form of a variant's tag. A user's own tag can have it too:
/// see [`is_written_variant`].
pub fn is_variant(reference: &Reference) -> bool {
    reference.tag().is_some_and(is_variant_tag)
}

/// Returns whether `reference` names a variant as zstart writes it into a pod: by a variant's tag and by digest.
///
/// A tag such as `app-zstd-0123456789ab` without a digest may be a user's own. Only the annotations of its
/// manifest tell, and a conversion reads those. A tag of the form `sha256-…-zstd` is always zstart's: it is made
/// of digests alone.
pub fn is_written_variant(reference: &Reference) -> bool {
    let name = reference.tag().and_then(VariantTag::parse);
    name.is_some_and(|name| name.stem.is_none() || reference.digest().is_some())
}

/// Returns `source`, unless it names a variant ([`is_written_variant`]) or an image by another digest than
/// SHA-256.
pub fn require_source(source: &Reference) -> Result<&Reference, SourceError> {
    let reference = || source.clone();
    match source.digest() {
        _ if is_written_variant(source) => Err(SourceError::AlreadyVariant { reference: reference() }),
        Some(digest) if digest.algorithm() != Algorithm::Sha256 => {
            Err(SourceError::UnsupportedDigest { reference: reference() })
        }
        _ => Ok(source),
    }
}

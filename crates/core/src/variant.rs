//! The name of a variant: a pure function of source reference and source digest, so that anybody
//! who knows the source finds the variant without asking the cluster.

use thiserror::Error;

use crate::digest::Digest;
use crate::reference::{Reference, Tag};

#[cfg(test)]
mod tests;

/// Longest source tag that is carried whole: 128, less `-zstd-` and twelve digits.
const MAX_STEM_LENGTH: usize = 110;
/// Of a longer tag, how much is kept in front of a hash of the rest.
const TRUNCATED_STEM_LENGTH: usize = 97;

/// Why there is no variant of a reference.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SourceError {
    /// It is itself a variant's: there is nothing to convert.
    #[error("{reference} is already a variant made by zstart")]
    AlreadyVariant {
        /// The reference that was given.
        reference: Reference,
    },
    /// It names its image by another digest than SHA-256, the only one that runtimes report.
    #[error("{reference} is not named by a SHA-256 digest: use the image's sha256 digest, or its tag")]
    UnsupportedDigest {
        /// The reference that was given.
        reference: Reference,
    },
}

/// The tag of the variant of `source` while it means `digest`.
///
/// `v1.4` becomes `v1.4-zstd-1a2b3c4d5e6f`; a digest reference gets `sha256-1a2b3c4d5e6f-zstd`. The
/// result is always a valid tag. A source tag over 110 characters is cut and told apart by a hash.
pub fn tag(source: &Reference, digest: &Digest) -> Tag {
    // Where a digest decides, the tag beside it is for people only.
    tag_for(if source.digest().is_some() { None } else { source.tag() }, digest)
}

/// The same for an image that was asked for by `source_tag`, or by digest where that is `None`.
pub fn tag_for(source_tag: Option<&Tag>, digest: &Digest) -> Tag {
    let text = match source_tag {
        Some(tag) => format!("{}-zstd-{}", stem(tag.as_str()), digest.short()),
        None => format!("{}-{}-zstd", digest.algorithm(), digest.short()),
    };
    // At most 110 characters of a valid tag, six of our own and twelve digits: a property test holds it.
    Tag::from_valid(text)
}

fn stem(tag: &str) -> String {
    if tag.len() <= MAX_STEM_LENGTH {
        return tag.to_owned();
    }
    // Tags are ASCII, so any byte is a character boundary.
    format!("{}-{}", &tag[..TRUNCATED_STEM_LENGTH], Digest::sha256_of(tag.as_bytes()).short())
}

/// Whether `tag` has the form that [`tag()`] gives. It says nothing of who pushed it.
pub fn is_variant_tag(tag: &Tag) -> bool {
    let text = tag.as_str();
    let digits = |text: &str| {
        text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let of_tag = text.rsplit_once("-zstd-").is_some_and(|(stem, short)| !stem.is_empty() && digits(short));
    let of_digest = text
        .strip_suffix("-zstd")
        .and_then(|text| text.strip_prefix("sha256-").or_else(|| text.strip_prefix("sha512-")))
        .is_some_and(digits);
    of_tag || of_digest
}

/// Whether `reference` has a tag of that form.
pub fn is_variant(reference: &Reference) -> bool {
    reference.tag().is_some_and(is_variant_tag)
}

/// `source` if it may be converted: not a variant's own reference, and by no digest that nobody
/// compares.
pub fn require_source(source: &Reference) -> Result<&Reference, SourceError> {
    let reference = || source.clone();
    match source.digest() {
        _ if is_variant(source) => Err(SourceError::AlreadyVariant { reference: reference() }),
        Some(digest) if digest.algorithm() != "sha256" => {
            Err(SourceError::UnsupportedDigest { reference: reference() })
        }
        _ => Ok(source),
    }
}

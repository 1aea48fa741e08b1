//! Names of variants. A name is a pure function of source reference and source digest, so a client that
//! knows the source finds the variant without asking the cluster.

use thiserror::Error;

use crate::digest::{Algorithm, Digest};
use crate::reference::{Reference, Tag};

#[cfg(test)]
mod tests;

/// Longest source tag that is kept whole: 128, less `-zstd-` and twelve digits.
const MAX_STEM_LENGTH: usize = 110;
/// Length to which a longer source tag is cut. A dash and a hash of the whole tag follow.
const TRUNCATED_STEM_LENGTH: usize = 97;

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

/// Returns the tag of the variant of `source` while `source` resolves to `digest`.
///
/// `v1.4` becomes `v1.4-zstd-1a2b3c4d5e6f`; a digest reference gets `sha256-1a2b3c4d5e6f-zstd`. The
/// result is always a valid tag. A source tag over 110 characters is cut and made unique by a hash.
pub fn tag(source: &Reference, digest: &Digest) -> Tag {
    // In a reference with a digest, the tag is for people only.
    tag_for(if source.digest().is_some() { None } else { source.tag() }, digest)
}

/// Returns the tag of the variant of a source that was named by `source_tag`, or by digest if `source_tag`
/// is `None`.
pub fn tag_for(source_tag: Option<&Tag>, digest: &Digest) -> Tag {
    let text = match source_tag {
        Some(tag) => format!("{}-zstd-{}", stem(tag.as_str()), digest.short()),
        None => format!("{}-{}-zstd", digest.algorithm(), digest.short()),
    };
    // At most 110 characters of a valid tag, six fixed characters and twelve digits. A property test checks
    // the validity.
    Tag::from_valid(text)
}

fn stem(tag: &str) -> String {
    if tag.len() <= MAX_STEM_LENGTH {
        return tag.to_owned();
    }
    // Tags are ASCII, so any byte is a character boundary.
    format!("{}-{}", &tag[..TRUNCATED_STEM_LENGTH], Digest::sha256_of(tag.as_bytes()).short())
}

/// Returns whether `tag` has the form that [`tag()`] gives. The form is no proof that zstart pushed the tag.
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

/// Returns whether the tag of `reference` has the form of a variant's tag.
pub fn is_variant(reference: &Reference) -> bool {
    reference.tag().is_some_and(is_variant_tag)
}

/// Returns `source`, unless it names a variant or an image by another digest than SHA-256.
pub fn require_source(source: &Reference) -> Result<&Reference, SourceError> {
    let reference = || source.clone();
    match source.digest() {
        _ if is_variant(source) => Err(SourceError::AlreadyVariant { reference: reference() }),
        Some(digest) if digest.algorithm() != Algorithm::Sha256 => {
            Err(SourceError::UnsupportedDigest { reference: reference() })
        }
        _ => Ok(source),
    }
}

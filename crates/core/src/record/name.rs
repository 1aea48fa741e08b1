//! Object name of a record.

use crate::digest::Digest;
use crate::reference::Reference;

/// Longest readable part. With the hash, a name has at most 63 characters, so a name is also a valid label
/// value.
const MAX_READABLE_LENGTH: usize = 46;

/// Returns the name of the record of `source`: a readable part, then a hash of the whole identity that
/// makes the name unique. An image always has one name, so two clients that request an image at once
/// request one object.
pub fn record_name(source: &Reference) -> String {
    let identity = source.identity();
    let last = identity.repository().rsplit('/').next().unwrap_or_default();
    let version = identity.digest().map_or(identity.version(), Digest::short);
    let mut readable = String::with_capacity(MAX_READABLE_LENGTH);
    for character in format!("{last}-{version}").chars() {
        let character = character.to_ascii_lowercase();
        let kept = if character.is_ascii_alphanumeric() { character } else { '-' };
        if readable.len() < MAX_READABLE_LENGTH && !(kept == '-' && readable.ends_with('-')) {
            readable.push(kept);
        }
    }
    let hash = Digest::sha256_of(identity.to_string().as_bytes());
    format!("{}-{}", readable.trim_matches('-'), &hash.hex()[..16])
}

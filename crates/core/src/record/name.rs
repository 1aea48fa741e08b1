//! The object name of a record.

use crate::digest::Digest;
use crate::reference::Reference;

/// Of the readable part, how much is kept. With the hash a name has at most 63 characters, so that
/// it also serves as a label value.
const MAX_READABLE_LENGTH: usize = 46;

/// The name of the record of `source`: readable in front, and unique by a hash of the whole
/// identity. The same image always gets the same name, so that two parties who want it at once
/// want the same object.
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

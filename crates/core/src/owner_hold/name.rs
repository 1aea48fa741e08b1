//! Object name of a hold.

use super::Owner;
use crate::digest::Digest;

/// Longest readable part. With the hash, a name has at most 63 characters, so a name is also a valid label
/// value.
const MAX_READABLE_LENGTH: usize = 50;
/// Hexadecimal digits of the hash.
const HASH_LENGTH: usize = 12;

/// Returns the name of the hold of `owner`: kind and name of the owner, then a hash of the whole identity
/// that makes the name unique in the namespace.
pub fn hold_name(owner: &Owner) -> String {
    let readable = format!("{}-{}", owner.kind, owner.name).to_ascii_lowercase();
    let allowed = |character: char| if character.is_ascii_alphanumeric() { character } else { '-' };
    let readable: String = readable.chars().map(allowed).take(MAX_READABLE_LENGTH).collect();
    let identity = [owner.group(), &owner.kind, &owner.name, &owner.uid].join("\n");
    let hash = Digest::sha256_of(identity.as_bytes());
    format!("{}-{}", readable.trim_matches('-'), &hash.hex()[..HASH_LENGTH])
}

//! Confirmations in memory, and their encoding in the sweep.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::digest::Digest;

/// Bytes of a hash of a record's name, and of a source's digest.
const HASH: usize = 6;
/// Bytes of a time in seconds.
const SECONDS: usize = 4;
/// Bytes of an entry.
const ENTRY: usize = 2 * HASH + SECONDS;

/// Hash of a record's name.
type NameHash = [u8; HASH];

/// A record with a digest of its source, hashed.
///
/// A false match needs equal hashes of 96 bits. Of two records whose names have the same 48 bits, one is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConfirmationKey {
    name: NameHash,
    digest: [u8; HASH],
}

/// Times at which registries last confirmed the sources' digests and the variants, by record. Whole seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confirmations(HashMap<NameHash, ([u8; HASH], u32)>);

/// Bytes that hold no confirmations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the confirmations have {length} bytes, which is no multiple of {ENTRY}")]
pub struct UnreadableConfirmations {
    length: usize,
}

impl ConfirmationKey {
    /// Hashes the name of a record and a digest of its source.
    pub fn new(record: &str, digest: &Digest) -> Self {
        Self { name: hash(record), digest: hash(&digest.to_string()) }
    }
}

impl Confirmations {
    /// Largest number that the controller writes. Together with the base64 of JSON, an object stays below 1.4 MB: etcd
    /// refuses requests of more than 1.5 MiB.
    pub const MAX: usize = 65_536;

    /// Time at which the record was last confirmed with this digest.
    pub fn get(&self, key: ConfirmationKey) -> Option<Timestamp> {
        let (digest, seconds) = self.0.get(&key.name)?;
        (*digest == key.digest).then(|| timestamp(*seconds))
    }

    /// Time at which the record was last confirmed with any digest.
    pub fn last_look(&self, record: &str) -> Option<Timestamp> {
        self.0.get(&hash(record)).map(|(_, seconds)| timestamp(*seconds))
    }

    /// Adds or replaces the confirmation of a record. The time is cut to whole seconds. A time before 1970 or after
    /// 2106 is left out.
    pub fn insert(&mut self, key: ConfirmationKey, at: Timestamp) {
        if let Ok(seconds) = u32::try_from(at.as_second()) {
            self.0.insert(key.name, (key.digest, seconds));
        }
    }

    /// Removes the confirmation of a record.
    pub fn remove(&mut self, record: &str) {
        self.0.remove(&hash(record));
    }

    /// Removes the confirmations of all records but these.
    pub fn retain<'a>(&mut self, records: impl Iterator<Item = &'a str>) {
        let names: HashSet<NameHash> = records.map(hash).collect();
        self.0.retain(|name, _| names.contains(name));
    }

    /// Number of confirmations.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no confirmations.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes the most recent confirmations, at most [`MAX`](Self::MAX), in the order of their bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut entries: Vec<_> = self.0.iter().collect();
        if entries.len() > Self::MAX {
            entries.sort_unstable_by_key(|(name, (_, seconds))| (u32::MAX - seconds, *name));
            entries.truncate(Self::MAX);
        }
        entries.sort_unstable();
        let mut bytes = Vec::with_capacity(entries.len() * ENTRY);
        for (name, (digest, seconds)) in entries {
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(digest);
            bytes.extend_from_slice(&seconds.to_be_bytes());
        }
        bytes
    }

    /// Reads confirmations.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, UnreadableConfirmations> {
        let (entries, rest) = bytes.as_chunks::<ENTRY>();
        if !rest.is_empty() {
            return Err(UnreadableConfirmations { length: bytes.len() });
        }
        let read = |entry: &[u8; ENTRY]| {
            let [n0, n1, n2, n3, n4, n5, d0, d1, d2, d3, d4, d5, s0, s1, s2, s3] = *entry;
            ([n0, n1, n2, n3, n4, n5], ([d0, d1, d2, d3, d4, d5], u32::from_be_bytes([s0, s1, s2, s3])))
        };
        Ok(Self(entries.iter().map(read).collect()))
    }
}

fn timestamp(seconds: u32) -> Timestamp {
    // Every u32 is a valid time.
    Timestamp::from_second(seconds.into()).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn hash(text: &str) -> [u8; HASH] {
    let hash: [u8; 32] = Sha256::digest(text).into();
    hash.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn confirmation_counts_for_its_digest_alone() {
        let (old, new) = (Digest::sha256_of(b"old"), Digest::sha256_of(b"new"));
        let mut confirmations = Confirmations::default();
        confirmations.insert(ConfirmationKey::new("app", &old), at(10));
        assert_eq!(confirmations.get(ConfirmationKey::new("app", &old)), Some(at(10)));
        assert_eq!(confirmations.get(ConfirmationKey::new("app", &new)), None);
        assert_eq!(confirmations.get(ConfirmationKey::new("other", &old)), None);
        confirmations.insert(ConfirmationKey::new("app", &new), at(20));
        assert_eq!(confirmations.get(ConfirmationKey::new("app", &old)), None, "the tag moved");
        assert_eq!(confirmations.last_look("app"), Some(at(20)));
        confirmations.retain(["app"].into_iter());
        assert_eq!(confirmations.len(), 1);
        confirmations.retain(["other"].into_iter());
        assert!(confirmations.is_empty());
        confirmations.insert(ConfirmationKey::new("app", &new), at(20));
        confirmations.remove("app");
        assert!(confirmations.is_empty());
    }

    #[test]
    fn confirmations_round_trip_in_whole_seconds() {
        let mut confirmations = Confirmations::default();
        for number in 0..100_i64 {
            let key = ConfirmationKey::new(&number.to_string(), &Digest::sha256_of(b"app"));
            confirmations.insert(key, Timestamp::from_millisecond(number * 1000 + 999).unwrap());
        }
        let bytes = confirmations.to_bytes();
        assert_eq!(bytes.len(), 1600);
        let read = Confirmations::from_bytes(&bytes).unwrap();
        assert_eq!((&read, read.last_look("7")), (&confirmations, Some(at(7))));
        assert_eq!(read.to_bytes(), bytes);
    }

    #[test]
    fn unreadable_bytes_and_times_are_refused() {
        let error = Confirmations::from_bytes(&[0; 17]).unwrap_err();
        assert_eq!(error.to_string(), "the confirmations have 17 bytes, which is no multiple of 16");
        let key = ConfirmationKey::new("app", &Digest::sha256_of(b"app"));
        let mut confirmations = Confirmations::default();
        for seconds in [-1, i64::from(u32::MAX) + 1] {
            confirmations.insert(key, at(seconds));
        }
        assert!(confirmations.is_empty());
    }

    #[test]
    fn most_recent_confirmations_fit() {
        let digest = Digest::sha256_of(b"app");
        let mut confirmations = Confirmations::default();
        for number in 0..Confirmations::MAX + 2 {
            let seconds = i64::try_from(number).unwrap();
            confirmations.insert(ConfirmationKey::new(&number.to_string(), &digest), at(seconds));
        }
        let read = Confirmations::from_bytes(&confirmations.to_bytes()).unwrap();
        assert_eq!(read.len(), Confirmations::MAX);
        let has = |number: usize| read.last_look(&number.to_string()).is_some();
        assert_eq!((has(0), has(1), has(2), has(Confirmations::MAX + 1)), (false, false, true, true));
    }
}

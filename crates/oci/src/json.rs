//! JSON objects for lossless edits: members keep their order, and unedited values keep their bytes.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use thiserror::Error;
use zstart_core::Platform;

/// A JSON object that keeps the bytes of its values.
///
/// Parsing rejects duplicate members. Parsers disagree about which of two members counts, so one program
/// could check a value and another program use the other value.
///
/// A member that is `null` counts as absent. Encoders of other languages write `null` for an empty list or an
/// unset pointer (Go: a nil slice or map without `omitempty`). The `null` keeps its place in what is written,
/// unless the member is edited.
#[derive(Clone, Debug, Default)]
pub struct RawObject {
    members: Vec<(String, Box<RawValue>)>,
}

/// An error of reading or writing a JSON object.
#[derive(Debug, Error)]
pub enum JsonError {
    /// The bytes are no JSON object, or the object has duplicate members.
    #[error("failed to parse a JSON object")]
    Object {
        /// The parser's error.
        #[source]
        source: serde_json::Error,
    },
    /// A required member is absent.
    #[error("JSON member {name:?} is missing")]
    Missing {
        /// Name of the member.
        name: &'static str,
    },
    /// A member has another type, or a value out of range.
    #[error("JSON member {name:?} has an unexpected value")]
    Member {
        /// Name of the member.
        name: &'static str,
        /// The parser's error.
        #[source]
        source: serde_json::Error,
    },
    /// Serializing a value failed. JSON can represent every value that this crate writes.
    #[error("failed to write JSON member {name:?}")]
    Write {
        /// Name of the member.
        name: &'static str,
        /// The serializer's error.
        #[source]
        source: serde_json::Error,
    },
}

/// The members of a descriptor's `platform` that zstart uses.
#[derive(Deserialize)]
struct PlatformMembers {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
}

impl RawObject {
    /// Parses an object.
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        serde_json::from_slice(bytes).map_err(|source| JsonError::Object { source })
    }

    /// The member's value as written; `None` if the member is absent or `null`.
    fn value(&self, name: &str) -> Option<&RawValue> {
        let (_, value) = self.members.iter().find(|(member, _)| member == name)?;
        (value.get() != "null").then_some(&**value)
    }

    /// Whether the member exists and isn't `null`.
    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The member's value; `None` if the member is absent or `null`.
    pub fn get<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, JsonError> {
        let value = self.value(name).map(|value| serde_json::from_str(value.get()));
        value.transpose().map_err(|source| JsonError::Member { name, source })
    }

    /// The value of a required member.
    pub fn require<T: DeserializeOwned>(&self, name: &'static str) -> Result<T, JsonError> {
        self.get(name)?.ok_or(JsonError::Missing { name })
    }

    /// The `annotations` of a descriptor, manifest or index; empty if absent. An annotation that is `null` is
    /// absent.
    pub fn annotations(&self) -> Result<BTreeMap<String, String>, JsonError> {
        let all = self.all_annotations()?;
        Ok(all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
    }

    /// The annotations with those that are `null`, to be edited and written again.
    pub(crate) fn all_annotations(&self) -> Result<BTreeMap<String, Option<String>>, JsonError> {
        Ok(self.get("annotations")?.unwrap_or_default())
    }

    /// The `platform` of a descriptor; `None` if operating system or architecture is absent or no name.
    pub fn platform(&self) -> Result<Option<Platform>, JsonError> {
        let members: Option<PlatformMembers> = self.get("platform")?;
        Ok(members.and_then(|PlatformMembers { os, architecture, variant }| {
            Platform::named(&os?, &architecture?, variant.as_deref())
        }))
    }

    /// Replaces the member's value, or appends the member.
    pub fn set<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), JsonError> {
        let value =
            serde_json::value::to_raw_value(value).map_err(|source| JsonError::Write { name, source })?;
        match self.members.iter_mut().find(|(member, _)| member == name) {
            Some((_, old)) => *old = value,
            None => self.members.push((name.to_owned(), value)),
        }
        Ok(())
    }

    /// Removes the member.
    pub fn remove(&mut self, name: &str) {
        self.members.retain(|(member, _)| member != name);
    }

    /// The object as compact JSON. Unedited values keep their white space.
    pub fn to_bytes(&self) -> Result<Vec<u8>, JsonError> {
        serde_json::to_vec(self).map_err(|source| JsonError::Write { name: "", source })
    }
}

impl Serialize for RawObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.members.len()))?;
        for (name, value) in &self.members {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;

        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = RawObject;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawObject, A::Error> {
                let mut object = RawObject::default();
                let mut names = HashSet::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if !names.insert(name.clone()) {
                        return Err(serde::de::Error::custom(format!("duplicate member {name:?}")));
                    }
                    object.members.push((name, value));
                }
                Ok(object)
            }
        }

        deserializer.deserialize_map(ObjectVisitor)
    }
}

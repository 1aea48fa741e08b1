//! JSON objects that survive being edited: members keep their order, and values that aren't touched
//! keep their very bytes.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use thiserror::Error;

/// A JSON object whose values are kept as they were written.
///
/// An object that names a member twice is refused: readers disagree about which of the two counts,
/// so what one program checked is not what another would use.
#[derive(Clone, Debug, Default)]
pub struct RawObject {
    members: Vec<(String, Box<RawValue>)>,
}

/// Why a JSON text can't be used.
#[derive(Debug, Error)]
pub enum JsonError {
    /// It is not a JSON object, or names a member twice.
    #[error("not a usable JSON object")]
    Object {
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// A member that must be there isn't.
    #[error("member {name:?} is missing")]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// A member has another type, or a value out of range.
    #[error("member {name:?} has an unexpected value")]
    Member {
        /// Its name.
        name: &'static str,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// A value couldn't be written. JSON can hold every value that is written here.
    #[error("member {name:?} can't be written as JSON")]
    Write {
        /// Its name.
        name: &'static str,
        /// What the serializer said.
        #[source]
        source: serde_json::Error,
    },
}

impl RawObject {
    /// Reads an object.
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        serde_json::from_slice(bytes).map_err(|source| JsonError::Object { source })
    }

    /// Whether there is such a member.
    pub fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(member, _)| member == name)
    }

    /// A member's value; `None` where it is absent or `null`.
    pub fn get<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, JsonError> {
        match self.members.iter().find(|(member, _)| member == name) {
            Some((_, value)) => {
                serde_json::from_str(value.get()).map_err(|source| JsonError::Member { name, source })
            }
            None => Ok(None),
        }
    }

    /// A member's value that must be there.
    pub fn require<T: DeserializeOwned>(&self, name: &'static str) -> Result<T, JsonError> {
        self.get(name)?.ok_or(JsonError::Missing { name })
    }

    /// The `annotations`, which descriptors, manifests and indexes all may have.
    pub fn annotations(&self) -> Result<BTreeMap<String, String>, JsonError> {
        Ok(self.get("annotations")?.unwrap_or_default())
    }

    /// Puts a value in the member's place, or at the end where there was none.
    pub fn set<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), JsonError> {
        let value =
            serde_json::value::to_raw_value(value).map_err(|source| JsonError::Write { name, source })?;
        match self.members.iter_mut().find(|(member, _)| member == name) {
            Some((_, old)) => *old = value,
            None => self.members.push((name.to_owned(), value)),
        }
        Ok(())
    }

    /// Takes a member out.
    pub fn remove(&mut self, name: &str) {
        self.members.retain(|(member, _)| member != name);
    }

    /// The object as compact JSON; values that weren't touched keep their own white space.
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
                        return Err(serde::de::Error::custom(format!("member {name:?} is there twice")));
                    }
                    object.members.push((name, value));
                }
                Ok(object)
            }
        }

        deserializer.deserialize_map(ObjectVisitor)
    }
}

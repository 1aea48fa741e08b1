//! JSON as Go's `encoding/json` reads it, which docker, podman and the kubelet use: names of members differ in
//! more than case, and `null` means absent.

use serde::Deserialize as _;
use serde_json::{Map, Value};

/// Byte order mark that some editors write in front of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The first JSON value, or `None` without one. Docker's decoder ignores text behind the first value too.
pub(super) fn first_value(bytes: &[u8]) -> serde_json::Result<Option<Value>> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    if bytes.trim_ascii().is_empty() {
        return Ok(None);
    }
    Value::deserialize(&mut serde_json::Deserializer::from_slice(bytes)).map(Some)
}

/// An object's member. An exact name has precedence.
pub(super) fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let other_case = || object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    object.get(name).or_else(other_case).filter(|value| !value.is_null())
}

/// A member that is not an empty text. The error is the name of a member that is no text.
pub(super) fn text<'a>(
    object: &'a Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'a str>, &'static str> {
    match member(object, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Map<String, Value> {
        first_value(text.as_bytes()).unwrap().unwrap().as_object().unwrap().clone()
    }

    #[test]
    fn first_value_counts() {
        for text in ["", " \n", "\u{feff}", "\u{feff}\n"] {
            assert_eq!(first_value(text.as_bytes()).unwrap(), None, "{text:?}");
        }
        for text in ["{}", "\u{feff}{}", " {} \n", "{}\0\0", "{} {\"auths\": 1"] {
            assert_eq!(first_value(text.as_bytes()).unwrap(), Some(Value::Object(Map::new())), "{text:?}");
        }
        assert!(first_value(b"{").is_err());
    }

    #[test]
    fn name_differs_in_case_and_null_is_absent() {
        let object =
            object(r#"{"Username": "a", "username": "b", "AUTH": "c", "password": null, "email": 1}"#);
        assert_eq!(text(&object, "username"), Ok(Some("b")));
        assert_eq!(text(&object, "auth"), Ok(Some("c")));
        assert_eq!(text(&object, "password"), Ok(None));
        assert_eq!(text(&object, "absent"), Ok(None));
        assert_eq!(text(&object, "email"), Err("email"));
    }
}

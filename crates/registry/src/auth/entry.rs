//! One registry's entry in a Docker config.
//!
//! The rules are the kubelet's (`pkg/credentialprovider/config.go`) and docker's
//! (`cli/config/configfile/file.go`): `auth` has precedence over `username` and `password`.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use serde_json::{Map, Value};

use super::credentials::Credentials;
use super::credentials_error::EntryProblem;
use super::members::text;
use super::password::Password;

/// Base64 as Go decodes it: bits behind the last byte don't matter. Padding is removed before.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, NO_PAD.with_decode_allow_trailing_bits(true));

/// Reads an entry's credentials, in the order to try them. An empty entry has none: docker writes it where a
/// credentials store has the secret.
pub(super) fn read(entry: &Value) -> Result<Vec<Credentials>, EntryProblem> {
    let entry = match entry {
        Value::Null => return Ok(Vec::new()),
        Value::Object(entry) => entry,
        _ => return Err(EntryProblem::NoObject),
    };
    let token = text(entry, "identitytoken").map_err(EntryProblem::NoText);
    let password = password(entry);
    let mut found = Vec::new();
    if let Ok(Some(token)) = token {
        found.push(Credentials::identity_token(token));
    }
    // `az acr login` writes a user without a password next to the identity token.
    if let Ok(Some(password)) = &password
        && (found.is_empty() || !password.password.is_empty())
    {
        found.push(Credentials::Basic(password.clone()));
    }
    if found.is_empty() {
        token?;
        password?;
        if text(entry, "registrytoken").map_err(EntryProblem::NoText)?.is_some() {
            return Err(EntryProblem::RegistryToken);
        }
    }
    Ok(found)
}

/// The user and password of `auth`, otherwise of `username` and `password`.
fn password(entry: &Map<String, Value>) -> Result<Option<Password>, EntryProblem> {
    let of_auth = match text(entry, "auth") {
        Ok(Some(auth)) => decode(auth).map(|password| Some(password).filter(is_some_user)),
        Ok(None) => Ok(None),
        Err(name) => Err(EntryProblem::NoText(name)),
    };
    if let Ok(Some(password)) = of_auth {
        return Ok(Some(password));
    }
    let member = |name| text(entry, name).map_err(EntryProblem::NoText);
    let of_members = Password {
        username: member("username")?.unwrap_or_default().to_owned(),
        password: member("password")?.unwrap_or_default().to_owned(),
    };
    if is_some_user(&of_members) { Ok(Some(of_members)) } else { of_auth }
}

fn is_some_user(password: &Password) -> bool {
    !password.username.is_empty() || !password.password.is_empty()
}

/// Decodes `auth`: base64 of `username:password`. Padding may be absent (kubernetes#82147), and line breaks and
/// the alphabet of URLs may be present.
fn decode(auth: &str) -> Result<Password, EntryProblem> {
    let symbol = |symbol| match symbol {
        '-' => '+',
        '_' => '/',
        other => other,
    };
    let symbols: String = auth.chars().filter(|symbol| !symbol.is_whitespace()).map(symbol).collect();
    let decoded = BASE64.decode(symbols.trim_end_matches('=')).map_err(|_| EntryProblem::Auth)?;
    let text = String::from_utf8(decoded).map_err(|_| EntryProblem::Auth)?;
    let (username, password) = text.split_once(':').ok_or(EntryProblem::Auth)?;
    // Old clients padded the password with NUL, and `echo user:password | base64` adds a line break.
    let password = password.trim_matches('\0').trim_end_matches(['\r', '\n']);
    Ok(Password { username: username.to_owned(), password: password.to_owned() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entry_of_any_client_is_understood() {
        let (basic, token) = (Credentials::basic, |token: &str| Credentials::identity_token(token));
        for (entry, credentials) in [
            (json!({"auth": "Zm9vOmJhcg=="}), vec![basic("foo", "bar")]),
            (json!({"auth": "Zm9vOmJhcg"}), vec![basic("foo", "bar")]),
            (json!({"auth": "Zm9vOmJhcg="}), vec![basic("foo", "bar")]),
            (json!({"auth": "Zm9v\nOmJh\r\ncg==\n"}), vec![basic("foo", "bar")]),
            (json!({"auth": " Zm9vOmJhcg== "}), vec![basic("foo", "bar")]),
            // Bits behind the last byte.
            (json!({"auth": "Zm9vOmJhch=="}), vec![basic("foo", "bar")]),
            // `foo:bar\n`, `foo:bar\0\0`, `foo:b:r`, `foo:>>?` in both alphabets.
            (json!({"auth": "Zm9vOmJhcgo="}), vec![basic("foo", "bar")]),
            (json!({"auth": "Zm9vOmJhcgAA"}), vec![basic("foo", "bar")]),
            (json!({"auth": "Zm9vOmI6cg=="}), vec![basic("foo", "b:r")]),
            (json!({"auth": "Zm9vOj4+Pw=="}), vec![basic("foo", ">>?")]),
            (json!({"auth": "Zm9vOj4-Pw"}), vec![basic("foo", ">>?")]),
            // `foo:` and `:bar`.
            (json!({"auth": "Zm9vOg=="}), vec![basic("foo", "")]),
            (json!({"auth": "OmJhcg=="}), vec![basic("", "bar")]),
            (json!({"username": "foo", "password": "bar", "email": "a@b"}), vec![basic("foo", "bar")]),
            (json!({"Username": "foo", "PASSWORD": "bar"}), vec![basic("foo", "bar")]),
            (json!({"username": "foo"}), vec![basic("foo", "")]),
            (
                json!({"username": "ping", "password": "pong", "auth": "Zm9vOmJhcg=="}),
                vec![basic("foo", "bar")],
            ),
            (json!({"username": "", "password": "", "auth": "Zm9vOmJhcg=="}), vec![basic("foo", "bar")]),
            (json!({"username": null, "password": null, "auth": "Zm9vOmJhcg=="}), vec![basic("foo", "bar")]),
            (json!({"username": "foo", "password": "bar", "auth": ""}), vec![basic("foo", "bar")]),
            (json!({"username": "foo", "password": "bar", "auth": null}), vec![basic("foo", "bar")]),
            (json!({"username": "foo", "password": "bar", "auth": "!"}), vec![basic("foo", "bar")]),
            (json!({"username": "foo", "password": "bar", "auth": "Og=="}), vec![basic("foo", "bar")]),
            (json!({"auth": "Zm9vOmJhcg==", "username": 1, "email": false}), vec![basic("foo", "bar")]),
            (json!({"auth": "Zm9vOmJhcg==", "later": {"a": [1]}}), vec![basic("foo", "bar")]),
            (json!({"auth": "Zm9vOmJhcg==", "identitytoken": ""}), vec![basic("foo", "bar")]),
            (json!({"auth": "Zm9vOmJhcg==", "registrytoken": "a"}), vec![basic("foo", "bar")]),
            // The kubelet knows no identity tokens and uses the password.
            (json!({"auth": "Zm9vOmJhcg==", "identitytoken": "a"}), vec![token("a"), basic("foo", "bar")]),
            // The user that `az acr login` writes, without a password.
            (json!({"auth": "MDAwMDo=", "identitytoken": "a"}), vec![token("a")]),
            (json!({"auth": "!", "identitytoken": "a"}), vec![token("a")]),
            (json!({}), vec![]),
            (json!(null), vec![]),
            (json!({"auth": null, "username": null, "identitytoken": null}), vec![]),
            (json!({"auth": "", "username": "", "password": ""}), vec![]),
            (json!({"auth": "Og=="}), vec![]),
            (json!({"email": "a@b"}), vec![]),
        ] {
            assert_eq!(read(&entry).unwrap(), credentials, "{entry}");
        }
    }

    #[test]
    fn useless_entry_is_an_error_without_secrets() {
        for (entry, said) in [
            (json!({"auth": "hunter2!"}), "\"auth\" is not base64"),
            // `hunter2`, and bytes that are no text.
            (json!({"auth": "aHVudGVyMg=="}), "username:password"),
            (json!({"auth": "/////w=="}), "username:password"),
            (json!({"auth": 1}), "\"auth\" is not a text"),
            (json!({"username": "a", "password": ["hunter2"]}), "\"password\" is not a text"),
            (json!({"identitytoken": {"a": "hunter2"}}), "\"identitytoken\" is not a text"),
            (json!({"registrytoken": "hunter2"}), "registry token"),
            (json!("hunter2"), "not an object"),
        ] {
            let problem = read(&entry).unwrap_err();
            let text = format!("{problem} {problem:?}");
            assert!(text.contains(said) && !text.contains("hunter2"), "{entry}: {text}");
        }
    }
}

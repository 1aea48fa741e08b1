//! Docker's `config.json`: a user's own, podman's `auth.json`, or a Kubernetes pull secret.
//!
//! One unusable entry doesn't spoil the others: its problem is reported if an image needs the entry.

use std::path::Path;

use serde_json::{Map, Value};
use zstart_core::Reference;

use super::credentials::Credentials;
use super::credentials_error::{CredentialsError, CredentialsFileError, EntryProblem};
use super::entry;
use super::helper::Helper;
use super::members::{first_value, member, text};
use super::registry_key::{PathRule, RegistryKey};

/// An entry's credentials, in the order to try them.
type Entry = Result<Vec<Credentials>, EntryProblem>;

/// Credentials by registry. Has no debug form, since it holds secrets.
#[derive(Clone, Default)]
pub struct DockerConfig {
    auths: Vec<(RegistryKey, Entry)>,
    helpers: Vec<(RegistryKey, HelperChoice)>,
    store: Option<HelperChoice>,
    paths: PathRule,
}

/// Value of a `credHelpers` key or of `credsStore`.
#[derive(Clone)]
enum HelperChoice {
    Helper(Helper),
    /// An empty name: docker reads the config's own entry then, without `credsStore`.
    OwnEntry,
    /// Another type than in a Docker config.
    Invalid {
        setting: String,
    },
}

impl DockerConfig {
    /// Parses a config: `config.json`, `auth.json`, or either form of a pull secret (`.dockerconfigjson` and
    /// `.dockercfg`). An empty text has no credentials, as for docker.
    pub fn parse(bytes: &[u8]) -> Result<Self, CredentialsError> {
        let value = first_value(bytes)
            .map_err(|error| CredentialsError::Syntax { line: error.line(), column: error.column() })?;
        let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(Self::default()) };
        let config = object(&value, "a text")?;
        if is_legacy(config) {
            return Ok(Self { auths: entries(config), ..Self::default() });
        }
        let auths = member(config, "auths").map(|auths| object(auths, "\"auths\"")).transpose()?;
        let (helpers, store) = (member(config, "credHelpers"), member(config, "credsStore"));
        let by_key = helpers.and_then(Value::as_object).into_iter().flatten().map(|(key, name)| {
            let key = RegistryKey::parse(key);
            let choice = HelperChoice::new(name, format!("credHelpers for {key}"));
            (key, choice)
        });
        // The kubelet ignores helpers of any type, so they spoil no pull secret.
        let invalid = helpers.filter(|helpers| !helpers.is_object());
        Ok(Self {
            auths: auths.map(entries).unwrap_or_default(),
            helpers: by_key.collect(),
            store: invalid
                .map(|_| HelperChoice::Invalid { setting: "credHelpers".to_owned() })
                .or_else(|| store.map(|name| HelperChoice::new(name, "credsStore".to_owned()))),
            paths: PathRule::default(),
        })
    }

    /// Parses a pull secret by the kubelet's rules: a key's path is compared character by character, and
    /// helpers are ignored. A config from a cluster must not name a program that zstart then runs.
    pub fn parse_pull_secret(bytes: &[u8]) -> Result<Self, CredentialsError> {
        Ok(Self { paths: PathRule::Characters, ..Self::parse(bytes)?.without_helpers() })
    }

    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, CredentialsFileError> {
        let bytes = std::fs::read(path).map_err(CredentialsError::Read);
        bytes.and_then(|bytes| Self::parse(&bytes)).map_err(|source| CredentialsFileError::new(path, source))
    }

    /// Drops credential helpers.
    #[must_use]
    pub fn without_helpers(self) -> Self {
        Self { helpers: Vec::new(), store: None, ..self }
    }

    /// Returns the credentials of all entries for an image, the most specific first, as the kubelet tries
    /// them. Runs no helper.
    pub fn candidates(&self, image: &Reference) -> Vec<Result<Credentials, CredentialsError>> {
        let candidates = self.entries(image).flat_map(|entry| match entry {
            Ok(credentials) => credentials.iter().cloned().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        });
        candidates.collect()
    }

    /// The entries for an image, the most specific first.
    fn entries(&self, image: &Reference) -> impl Iterator<Item = Result<&[Credentials], CredentialsError>> {
        let matching =
            self.auths.iter().filter_map(|(key, entry)| Some((key.matches(image, self.paths)?, key, entry)));
        let mut matching: Vec<_> = matching.collect();
        matching.sort_by(|(one, ..), (other, ..)| other.cmp(one));
        matching.into_iter().map(|(_, key, entry)| match entry {
            Ok(credentials) => Ok(credentials.as_slice()),
            Err(problem) => Err(CredentialsError::Entry { registry: key.to_string(), problem: *problem }),
        })
    }

    /// Returns the most specific credentials for an image, or `None` if the config has none. The helper that
    /// the config names for the registry, or for all registries, has precedence over entries, as for docker.
    pub async fn credentials_for(&self, image: &Reference) -> Result<Option<Credentials>, CredentialsError> {
        let found = match self.helper(image) {
            Some(HelperChoice::Helper(helper)) => helper.credentials(image).await,
            Some(HelperChoice::Invalid { setting }) => {
                Err(CredentialsError::HelperSetting { setting: setting.clone() })
            }
            Some(HelperChoice::OwnEntry) | None => Ok(None),
        };
        let mut first_error = match found {
            Ok(Some(credentials)) => return Ok(Some(credentials)),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        for entry in self.entries(image) {
            match entry.map(one_login) {
                Ok(None) => {}
                Ok(Some(credentials)) => {
                    if let Some(error) = first_error {
                        let error = zstart_core::chain(&error);
                        tracing::warn!(error, "used other credentials of the same file");
                    }
                    return Ok(Some(credentials));
                }
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        first_error.map_or(Ok(None), Err)
    }

    /// The helper of the most specific key, otherwise the one of all registries.
    fn helper(&self, image: &Reference) -> Option<&HelperChoice> {
        let matching =
            self.helpers.iter().filter_map(|(key, helper)| Some((key.matches(image, self.paths)?, helper)));
        let own = matching.max_by(|(one, _), (other, _)| one.cmp(other)).map(|(_, helper)| helper);
        own.or(self.store.as_ref())
    }
}

impl HelperChoice {
    fn new(value: &Value, setting: String) -> Self {
        match value {
            Value::String(name) if !name.is_empty() => Self::Helper(Helper::new(name, setting)),
            Value::String(_) | Value::Null => Self::OwnEntry,
            _ => Self::Invalid { setting },
        }
    }
}

/// An entry's credentials as one login: an identity token keeps the password for a registry that wants `Basic`.
fn one_login(entry: &[Credentials]) -> Option<Credentials> {
    match entry {
        [Credentials::IdentityToken(token), Credentials::Basic(password), ..] => {
            Some(Credentials::IdentityToken(token.clone().with_password(password.clone())))
        }
        entry => entry.first().cloned(),
    }
}

fn object<'a>(value: &'a Value, part: &'static str) -> Result<&'a Map<String, Value>, CredentialsError> {
    value.as_object().ok_or(CredentialsError::NoObject { part })
}

fn entries(auths: &Map<String, Value>) -> Vec<(RegistryKey, Entry)> {
    auths.iter().map(|(key, value)| (RegistryKey::parse(key), entry::read(value))).collect()
}

/// Whether the config is of the older form, `.dockercfg`: the entries alone.
fn is_legacy(config: &Map<String, Value>) -> bool {
    let has = |name| config.keys().any(|key| key.eq_ignore_ascii_case(name));
    let is_entry = |value: &Value| {
        let names = ["auth", "username", "password", "identitytoken"];
        value
            .as_object()
            .is_some_and(|entry| names.iter().any(|name| matches!(text(entry, name), Ok(Some(_)))))
    };
    !["auths", "credHelpers", "credsStore"].into_iter().any(has) && config.values().any(is_entry)
}

#[cfg(test)]
mod tests;

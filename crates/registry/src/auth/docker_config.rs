//! Docker's `config.json`: a user's own, or a Kubernetes pull secret.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use zstart_core::Reference;

use super::credentials::Credentials;
use super::credentials_error::CredentialsError;
use super::helper;

/// Credentials by registry. Has no debug form, since it holds secrets.
#[derive(Clone, Default, Deserialize)]
pub struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

/// One registry's entry. `auth` is base64 of `username:password`.
#[derive(Clone, Default, Deserialize)]
struct Entry {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default, rename = "identitytoken")]
    identity_token: Option<String>,
}

impl DockerConfig {
    /// Parses a config, e.g. the `.dockerconfigjson` of a pull secret.
    pub fn parse(bytes: &[u8]) -> Result<Self, CredentialsError> {
        serde_json::from_slice(bytes).map_err(|error| parse_error(&error))
    }

    /// Parses the older form of pull secrets, `.dockercfg`: the entries alone.
    pub fn parse_legacy(bytes: &[u8]) -> Result<Self, CredentialsError> {
        let auths = serde_json::from_slice(bytes).map_err(|error| parse_error(&error))?;
        Ok(Self { auths, ..Self::default() })
    }

    /// Reads a file. A file that doesn't exist has no credentials.
    pub fn load(path: &Path) -> Result<Self, CredentialsError> {
        match std::fs::read(path) {
            Ok(bytes) => Self::parse(&bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(CredentialsError::Read { path: path.to_owned(), source }),
        }
    }

    /// Drops credential helpers: a config from a cluster must not name a program that zstart then runs.
    #[must_use]
    pub fn without_helpers(self) -> Self {
        Self { helpers: BTreeMap::new(), store: None, ..self }
    }

    /// Whether the config has an entry or a helper for the image.
    pub fn knows(&self, reference: &Reference) -> bool {
        self.helpers.contains_key(reference.registry()) || self.entry(reference).is_some()
    }

    /// Returns the credentials for an image, or `None` if the config has none. Runs the helper that the config
    /// names for the registry or for all registries.
    pub async fn credentials_for(
        &self,
        reference: &Reference,
    ) -> Result<Option<Credentials>, CredentialsError> {
        let registry = reference.registry();
        if let Some(name) = self.helpers.get(registry) {
            return helper::get(name, server_name(registry)).await;
        }
        if let Some((key, entry)) = self.entry(reference) {
            let found = entry.credentials(key)?;
            // An empty entry marks that the credentials store has the secret.
            if found.is_some() || self.store.is_none() {
                return Ok(found);
            }
        }
        match &self.store {
            Some(name) => helper::get(name, server_name(registry)).await,
            None => Ok(None),
        }
    }

    /// Returns the entry with the longest matching path, as the kubelet does; among equal paths, an exact host
    /// wins over a pattern.
    fn entry(&self, reference: &Reference) -> Option<(&str, &Entry)> {
        let matching = self.auths.iter().map(|(key, entry)| (split_key(key), key, entry));
        let matching = matching.filter(|(pattern, _, _)| matches(*pattern, reference));
        let best = matching.max_by_key(|((host, path), _, _)| (path.len(), !host.contains('*'), host.len()));
        best.map(|(_, key, entry)| (key.as_str(), entry))
    }
}

/// Credential stores know Docker Hub by the address of its first index.
fn server_name(registry: &str) -> &str {
    if registry == "docker.io" { "https://index.docker.io/v1/" } else { registry }
}

fn parse_error(error: &serde_json::Error) -> CredentialsError {
    CredentialsError::Parse { line: error.line(), column: error.column() }
}

/// Splits a key into host and path. Keys are hosts, maybe with a scheme, a port, a path, and `*` for parts of
/// the host (Kubernetes: "Config.json interpretation").
fn split_key(key: &str) -> (&str, &str) {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    // Old keys contain the API's version, which is no part of a repository's name.
    let below = ["v1", "v2"].into_iter().find_map(|version| path.strip_prefix(version));
    let path = below.filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(path);
    let path = path.trim_matches('/');
    (if host == "index.docker.io" { "docker.io" } else { host }, path)
}

/// Whether a key's host and path match the image's repository.
fn matches((host, path): (&str, &str), reference: &Reference) -> bool {
    let repository = reference.repository();
    let below = repository
        .strip_prefix(path)
        .is_some_and(|rest| path.is_empty() || rest.is_empty() || rest.starts_with('/'));
    below && host_matches(host, reference.registry())
}

fn host_matches(pattern: &str, host: &str) -> bool {
    let (pattern_name, pattern_port) = pattern.split_once(':').unwrap_or((pattern, ""));
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let (patterns, parts): (Vec<_>, Vec<_>) = (pattern_name.split('.').collect(), name.split('.').collect());
    pattern_port == port
        && patterns.len() == parts.len()
        && patterns.iter().zip(&parts).all(|(pattern, part)| match pattern.split_once('*') {
            Some((front, back)) => {
                part.len() >= front.len() + back.len() && part.starts_with(front) && part.ends_with(back)
            }
            None => pattern == part,
        })
}

impl Entry {
    fn credentials(&self, key: &str) -> Result<Option<Credentials>, CredentialsError> {
        let registry = || key.to_owned();
        if self.identity_token.as_ref().is_some_and(|token| !token.is_empty()) {
            return Err(CredentialsError::IdentityToken { registry: registry() });
        }
        if let (Some(username), Some(password)) = (&self.username, &self.password) {
            return Ok(Some(Credentials::basic(username, password)));
        }
        let Some(auth) = self.auth.as_deref().filter(|auth| !auth.is_empty()) else { return Ok(None) };
        let invalid = || CredentialsError::Auth { registry: registry() };
        let decoded = STANDARD.decode(auth.trim()).map_err(|_| invalid())?;
        let text = String::from_utf8(decoded).map_err(|_| invalid())?;
        let (username, password) = text.split_once(':').ok_or_else(invalid)?;
        // Old clients padded the password with NUL.
        let password = password.trim_end_matches('\0');
        Ok(Some(Credentials::basic(username, password)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(text: &str) -> Reference {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn entry_with_longest_path_wins() {
        let config = DockerConfig::parse(
            br#"{"auths": {
                "https://index.docker.io/v1/": {"auth": "aHViOnNlY3JldA=="},
                "registry.example": {"username": "all", "password": "1"},
                "registry.example/team": {"username": "team", "password": "2"},
                "https://other.example:5000/v1/": {"username": "all", "password": "4"},
                "https://old.example/v2/team/": {"username": "old", "password": "8"},
                "old.example/v2x": {"username": "v2x", "password": "9"},
                "other.example:5000/team": {"username": "team", "password": "5"},
                "*.wide.example": {"username": "any", "password": "6"},
                "b.wide.example": {"username": "b", "password": "7"},
                "*.wild.example:5000": {"username": "wild", "password": "3"}}}"#,
        )
        .unwrap();
        for (image, credentials) in [
            ("nginx", Some(Credentials::basic("hub", "secret"))),
            ("registry.example/app", Some(Credentials::basic("all", "1"))),
            ("registry.example/team/app", Some(Credentials::basic("team", "2"))),
            ("registry.example/teams/app", Some(Credentials::basic("all", "1"))),
            // The path's length counts, not the key's.
            ("other.example:5000/team/app", Some(Credentials::basic("team", "5"))),
            ("other.example:5000/app", Some(Credentials::basic("all", "4"))),
            ("old.example/team/app", Some(Credentials::basic("old", "8"))),
            ("old.example/v2x/app", Some(Credentials::basic("v2x", "9"))),
            ("old.example/app", None),
            ("a.wide.example/app", Some(Credentials::basic("any", "6"))),
            ("b.wide.example/app", Some(Credentials::basic("b", "7"))),
            ("a.wild.example:5000/app", Some(Credentials::basic("wild", "3"))),
            ("a.wild.example/app", None),
            ("a.b.wild.example:5000/app", None),
            ("elsewhere.example/app", None),
        ] {
            assert_eq!(config.credentials_for(&reference(image)).await.unwrap(), credentials, "{image}");
        }
    }

    #[tokio::test]
    async fn error_names_the_entry_and_shows_no_secret() {
        let config =
            DockerConfig::parse(br#"{"auths": {"registry.example": {"auth": "c2VjcmV0"}}}"#).unwrap();
        let error = config.credentials_for(&reference("registry.example/app")).await.unwrap_err();
        assert!(error.to_string().contains("registry.example"));
        let error = DockerConfig::parse(br#"{"auths": "hunter2""#).err().unwrap();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert!(!format!("{:?}", Credentials::basic("user", "hunter2")).contains("hunter2"));
    }

    #[tokio::test]
    async fn config_without_helpers_runs_no_program() {
        let config = DockerConfig::parse(br#"{"credsStore": "x", "credHelpers": {"registry.example": "y"}}"#)
            .unwrap()
            .without_helpers();
        assert_eq!(config.credentials_for(&reference("registry.example/app")).await.unwrap(), None);
    }
}

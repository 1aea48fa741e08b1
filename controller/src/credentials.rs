//! Credentials tried for a registry, in order: the controller's own, the workloads' pull secrets, anonymous.

mod pull_secrets;

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::{Api, Client};
use thiserror::Error;
use zstart_core::Reference;
use zstart_ecr::{EcrIdentity, SetupError};
use zstart_registry::auth::{Credentials, CredentialsError, CredentialsFileError, DockerConfig};

use self::pull_secrets::{Name, PullSecrets, Step};
use crate::demand::Consumer;

/// Maximum number of credentials tried for one image: a registry may count failed logins.
const MAX_CANDIDATES: usize = 16;

/// Credentials can't be read now. Whether they exist is unknown.
#[derive(Debug, Error)]
pub enum CandidateError {
    /// The controller's own credentials file can't be read.
    #[error("failed to read the controller's own credentials")]
    Own(#[from] CredentialsFileError),
    /// The controller's AWS identity can't be used.
    #[error("failed to use the controller's own AWS identity")]
    Aws(#[from] SetupError),
    /// The API server didn't return the object.
    #[error("failed to read {kind} {namespace}/{name}")]
    Read {
        /// `ServiceAccount` or `Secret`.
        kind: &'static str,
        /// Namespace of the object.
        namespace: String,
        /// Name of the object.
        name: String,
        /// Error of the API server.
        #[source]
        source: Box<kube::Error>,
    },
}

/// The controller's own credentials. They are used only for registries that an administrator listed.
#[derive(Clone, Debug, Default)]
pub struct OwnCredentials {
    file: Option<PathBuf>,
    ecr_registries: BTreeSet<String>,
    ecr: EcrIdentity,
}

impl OwnCredentials {
    /// Uses a file in the format of Docker's `config.json`, and the process's AWS identity for
    /// `ecr_registries`. Fails if the file is missing or unreadable now: the kubelet mounts a Secret before it
    /// starts the container. Each reconciliation reads the file again, because a token in the file may have
    /// been renewed.
    pub fn new(
        file: Option<PathBuf>,
        ecr_registries: BTreeSet<String>,
    ) -> Result<Self, CredentialsFileError> {
        file.as_deref().map(read_own).transpose()?;
        Ok(Self { file, ecr_registries, ecr: EcrIdentity::default() })
    }

    /// The AWS identity, if an administrator listed the registry for it.
    pub(crate) fn ecr_identity(&self, registry: &str) -> Option<&EcrIdentity> {
        self.ecr_registries.contains(registry).then_some(&self.ecr)
    }
}

/// Reads the file. Credential helpers are ignored: the container image has no other programs.
fn read_own(file: &Path) -> Result<DockerConfig, CredentialsFileError> {
    Ok(DockerConfig::load(file)?.without_helpers())
}

/// Credentials to try for a source, in order: the controller's own if an administrator listed the
/// registry, the pull secrets of the consumers, anonymous. Each file and each Secret is read lazily. The
/// entries for the source are tried in the kubelet's order.
pub struct Candidates<'a> {
    client: &'a Client,
    source: &'a Reference,
    file: Option<&'a Path>,
    ecr: Option<&'a EcrIdentity>,
    /// Credentials of the file.
    of_file: VecDeque<Credentials>,
    pull_secrets: PullSecrets,
    tried: Vec<Credentials>,
}

impl<'a> Candidates<'a> {
    /// Candidates for `source`.
    pub fn new(
        client: &'a Client,
        own: &'a OwnCredentials,
        consumers: &[Consumer],
        source: &'a Reference,
    ) -> Self {
        let file = own.file.as_deref();
        let ecr = own.ecr_identity(source.registry());
        Self {
            client,
            source,
            file,
            ecr,
            of_file: VecDeque::new(),
            pull_secrets: PullSecrets::new(consumers),
            tried: Vec::new(),
        }
    }

    /// The next credentials. [`Credentials::Anonymous`] is the last candidate.
    pub async fn next(&mut self) -> Result<Option<Credentials>, CandidateError> {
        if self.tried.last() == Some(&Credentials::Anonymous) {
            return Ok(None);
        }
        if let Some(identity) = self.ecr.take()
            && let Some(credentials) = identity.credentials(self.source.registry())?
        {
            self.tried.push(credentials.clone());
            return Ok(Some(credentials));
        }
        if let Some(file) = self.file.take() {
            self.of_file = usable(read_own(file)?.candidates(self.source), "credentialsFile");
        }
        let mut next = None;
        if self.tried.len() < MAX_CANDIDATES {
            next = self.next_untried().await?;
        }
        let next = next.unwrap_or(Credentials::Anonymous);
        self.tried.push(next.clone());
        Ok(Some(next))
    }

    /// The next credentials of the file or a pull secret.
    async fn next_untried(&mut self) -> Result<Option<Credentials>, CandidateError> {
        while let Some(credentials) = self.of_file.pop_front() {
            if !self.tried.contains(&credentials) {
                return Ok(Some(credentials));
            }
        }
        while let Some(step) = self.pull_secrets.step() {
            match step {
                Step::Try(credentials) if self.tried.contains(&credentials) => {}
                Step::Try(credentials) => {
                    self.pull_secrets.end_turn();
                    return Ok(Some(credentials));
                }
                Step::ReadSecret(name) => {
                    if let Some(config) = self.pull_secret(&name).await? {
                        let (namespace, name) = name;
                        let origin = format!("{namespace}/{name}");
                        let credentials = usable(config.candidates(self.source), &origin);
                        let dropped = self.pull_secrets.add_credentials(credentials);
                        if dropped > 0 {
                            tracing::warn!(
                                namespace,
                                name,
                                dropped,
                                "ignoring further logins of a pull secret"
                            );
                        }
                    }
                }
                Step::ReadAccount(name) => {
                    let secrets = self.secrets_of(&name).await?;
                    self.pull_secrets.add_secrets(secrets);
                }
            }
        }
        Ok(None)
    }

    /// Names of a service account's pull secrets.
    async fn secrets_of(&self, (namespace, name): &Name) -> Result<Vec<String>, CandidateError> {
        let accounts = Api::<ServiceAccount>::namespaced(self.client.clone(), namespace);
        let account = if_permitted("ServiceAccount", namespace, name, accounts.get(name).await)?;
        let secrets = account.and_then(|account| account.image_pull_secrets).unwrap_or_default();
        Ok(secrets.into_iter().map(|secret| secret.name).collect())
    }

    /// Content of a pull secret. A missing secret gives no credentials, as for the kubelet.
    async fn pull_secret(&self, (namespace, name): &Name) -> Result<Option<DockerConfig>, CandidateError> {
        let secrets = Api::<Secret>::namespaced(self.client.clone(), namespace);
        let Some(secret) = if_permitted("Secret", namespace, name, secrets.get(name).await)? else {
            return Ok(None);
        };
        let Some(content) = content_of(&secret) else {
            let type_ = secret.type_.as_deref().unwrap_or_default();
            tracing::warn!(namespace, name, type_, "ignoring a pull secret that the kubelet ignores too");
            return Ok(None);
        };
        match DockerConfig::parse_pull_secret(content) {
            Ok(config) => Ok(Some(config)),
            Err(error) => {
                tracing::warn!(namespace, name, %error, "ignoring an unreadable pull secret");
                Ok(None)
            }
        }
    }
}

/// Content of a pull secret. The type decides which key counts, as for the kubelet
/// (`pkg/credentialprovider/secrets/secrets.go`).
fn content_of(secret: &Secret) -> Option<&[u8]> {
    let key = match secret.type_.as_deref() {
        Some("kubernetes.io/dockerconfigjson") => ".dockerconfigjson",
        Some("kubernetes.io/dockercfg") => ".dockercfg",
        _ => return None,
    };
    secret.data.as_ref()?.get(key).map(|content| content.0.as_slice())
}

/// Credentials that can be tried. The others are logged.
fn usable(candidates: Vec<Result<Credentials, CredentialsError>>, origin: &str) -> VecDeque<Credentials> {
    let log = |error: CredentialsError| tracing::warn!(origin, %error, "ignoring unusable credentials");
    candidates.into_iter().filter_map(|candidate| candidate.map_err(log).ok()).collect()
}

/// Treats an object that the controller may not read as missing: an administrator withheld the right.
fn if_permitted<K>(
    kind: &'static str,
    namespace: &str,
    name: &str,
    answer: kube::Result<K>,
) -> Result<Option<K>, CandidateError> {
    match answer {
        Ok(object) => Ok(Some(object)),
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => Ok(None),
        Err(source) => {
            let (namespace, name) = (namespace.to_owned(), name.to_owned());
            Err(CandidateError::Read { kind, namespace, name, source: source.into() })
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    #[test]
    fn type_of_a_pull_secret_decides_which_key_counts() {
        let secret = |type_: Option<&str>, keys: &[&str]| Secret {
            type_: type_.map(ToOwned::to_owned),
            data: Some(
                keys.iter().map(|key| ((*key).to_owned(), ByteString(key.as_bytes().to_vec()))).collect(),
            ),
            ..Secret::default()
        };
        let (new, old) = ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg");
        for (type_, keys, content) in [
            (Some(new), &[".dockerconfigjson"][..], Some(".dockerconfigjson")),
            (Some(new), &[".dockerconfigjson", ".dockercfg"], Some(".dockerconfigjson")),
            (Some(old), &[".dockerconfigjson", ".dockercfg"], Some(".dockercfg")),
            (Some(new), &[".dockercfg"], None),
            (Some(old), &[".dockerconfigjson"], None),
            (Some("Opaque"), &[".dockerconfigjson", ".dockercfg"], None),
            (None, &[".dockerconfigjson"], None),
        ] {
            let secret = secret(type_, keys);
            assert_eq!(content_of(&secret), content.map(str::as_bytes), "{type_:?} {keys:?}");
        }
    }

    #[test]
    fn missing_credentials_file_is_an_error_that_names_it() {
        let file = Some(PathBuf::from("/absent/config.json"));
        let error = zstart_core::chain(&OwnCredentials::new(file, BTreeSet::new()).unwrap_err());
        assert!(error.contains("/absent/config.json") && error.contains("No such file"), "{error}");
    }
}

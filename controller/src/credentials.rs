//! Credentials tried for a registry, in order: the controller's own, the workloads' pull secrets, anonymous.

mod access;
mod audience;
mod login_memory;
mod pull_secrets;
mod report;

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::{Api, Client};
use thiserror::Error;
use tokio::time::Instant;
use zstart_core::Reference;
use zstart_ecr::{EcrIdentity, SetupError};
use zstart_registry::auth::{Credentials, CredentialsError, CredentialsFileError, DockerConfig};

use self::login_memory::Fingerprint;
use self::pull_secrets::{Name, PullSecrets, Step};
use self::report::SecretResult;
use crate::demand::Consumer;

pub use self::access::PullSecretAccess;
pub(crate) use self::audience::Audience;
pub use self::login_memory::LoginMemory;
pub(crate) use self::report::CredentialReport;

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
/// entries for the source are tried in the kubelet's order, but first those that the registry let in last.
/// Credentials whose login the registry refused are left out for some time.
pub struct Candidates<'a> {
    client: &'a Client,
    source: &'a Reference,
    file: Option<&'a Path>,
    ecr: Option<&'a EcrIdentity>,
    access: &'a PullSecretAccess,
    logins: &'a LoginMemory,
    /// Credentials of the file.
    of_file: VecDeque<Credentials>,
    pull_secrets: PullSecrets,
    tried: Vec<Credentials>,
    /// Namespaces of pull secrets, with the position of their login in `tried`.
    sharing: Vec<(usize, String)>,
    current: Current,
    report: CredentialReport,
}

/// The credentials that are tried now.
#[derive(Default)]
struct Current {
    fingerprint: Option<Fingerprint>,
    /// Pull secret that has them.
    secret: Option<Name>,
}

/// An object that the controller reads by name.
enum Found<K> {
    Object(K),
    Missing,
    /// An administrator withheld the right.
    Forbidden,
}

impl<'a> Candidates<'a> {
    /// Candidates for `source`.
    pub fn new(
        client: &'a Client,
        own: &'a OwnCredentials,
        access: &'a PullSecretAccess,
        logins: &'a LoginMemory,
        consumers: &[Consumer],
        source: &'a Reference,
    ) -> Self {
        let file = own.file.as_deref();
        let ecr = own.ecr_identity(source.registry());
        let namespaces: BTreeSet<&str> =
            consumers.iter().map(|consumer| consumer.namespace.as_str()).collect();
        let mut pull_secrets = PullSecrets::new(consumers);
        pull_secrets.retain(|namespace| access.allows_namespace(namespace));
        if let Some(preferred) = logins.preferred_secret(source) {
            pull_secrets.prefer(preferred);
        }
        let mut report = CredentialReport::new(namespaces.len(), !access.is_enabled);
        for consumer in consumers.iter().filter(|consumer| !access.allows_namespace(&consumer.namespace)) {
            for name in &consumer.pull_secrets {
                report.note(&(consumer.namespace.clone(), name.clone()), SecretResult::LeftOut);
            }
        }
        Self {
            client,
            source,
            file,
            ecr,
            access,
            logins,
            of_file: VecDeque::new(),
            pull_secrets,
            tried: Vec::new(),
            sharing: Vec::new(),
            current: Current::default(),
            report,
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
            self.current = Current::default();
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
        let (next, current) = next.unwrap_or_else(|| (Credentials::Anonymous, Current::default()));
        self.current = current;
        self.tried.push(next.clone());
        if let Some((namespace, _)) = &self.current.secret {
            self.sharing.push((self.position(), namespace.clone()));
        }
        Ok(Some(next))
    }

    /// Notes that the registry let the last credentials in, with every right that was needed.
    pub fn accepted(&self) {
        if let Some(fingerprint) = self.current.fingerprint {
            self.logins.accept(self.source, fingerprint, self.current.secret.clone());
        }
    }

    /// Notes that the registry refused the last credentials: their login, or a right.
    pub fn refused(&mut self, is_login: bool) {
        if let Some(fingerprint) = self.current.fingerprint.filter(|_| is_login) {
            self.logins.refuse(self.source, fingerprint, Instant::now());
        }
        if let Some(secret) = &self.current.secret {
            let result = if is_login { SecretResult::Refused } else { SecretResult::Denied };
            self.report.note(secret, result);
        }
    }

    /// Results of all pull secrets.
    pub(crate) fn into_report(self) -> CredentialReport {
        self.report
    }

    /// The credentials with their identity in the memory of logins; `None` if they must not be tried now.
    fn untried(&self, credentials: Credentials, secret: Option<Name>) -> Option<(Credentials, Current)> {
        if self.tried.contains(&credentials) {
            return None;
        }
        let fingerprint = self.logins.fingerprint(&credentials);
        let is_held =
            fingerprint.is_some_and(|login| !self.logins.may_try(self.source, login, Instant::now()));
        (!is_held).then_some((credentials, Current { fingerprint, secret }))
    }

    /// The next credentials of the file or a pull secret.
    async fn next_untried(&mut self) -> Result<Option<(Credentials, Current)>, CandidateError> {
        while let Some(credentials) = self.of_file.pop_front() {
            if let Some(next) = self.untried(credentials, None) {
                return Ok(Some(next));
            }
        }
        while let Some(step) = self.pull_secrets.step() {
            match step {
                Step::Try(credentials, secret) => {
                    let (is_known, tried) = (self.tried.contains(&credentials), credentials.clone());
                    if let Some(next) = self.untried(credentials, Some(secret.clone())) {
                        self.pull_secrets.end_turn();
                        return Ok(Some(next));
                    }
                    if is_known {
                        self.note_sharing(&tried, secret.0);
                    } else {
                        self.report.note(&secret, SecretResult::Held);
                    }
                }
                Step::ReadSecret(name) => self.read_secret(name).await?,
                Step::ReadAccount(name) => {
                    let secrets = self.secrets_of(&name).await?;
                    self.pull_secrets.add_secrets(secrets);
                }
            }
        }
        Ok(None)
    }

    /// Adds the credentials of a pull secret. A missing one has none, as for the kubelet.
    async fn read_secret(&mut self, secret: Name) -> Result<(), CandidateError> {
        let config = if self.access.allows_name(&secret.1) {
            self.pull_secret(&secret).await?
        } else {
            Err(SecretResult::LeftOut)
        };
        let (namespace, name) = (&*secret.0, &*secret.1);
        let config = match config {
            Ok(config) => config,
            Err(result) => {
                self.report.note(&secret, result);
                return Ok(());
            }
        };
        let mut credentials = usable(config.candidates(self.source), &format!("{namespace}/{name}"));
        let is_preferred = |credentials: &Credentials| {
            let fingerprint = self.logins.fingerprint(credentials);
            fingerprint.is_some_and(|login| self.logins.is_preferred(self.source, login))
        };
        credentials.make_contiguous().sort_by_key(|credentials| !is_preferred(credentials));
        if credentials.is_empty() {
            self.report.note(&secret, SecretResult::NoLogin);
        }
        let dropped = self.pull_secrets.add_credentials(name, credentials);
        if dropped > 0 {
            tracing::warn!(namespace, name, dropped, "ignoring further logins of a pull secret");
        }
        Ok(())
    }

    /// Names of a service account's pull secrets.
    async fn secrets_of(&mut self, account: &Name) -> Result<Vec<String>, CandidateError> {
        let (namespace, name) = account;
        let accounts = Api::<ServiceAccount>::namespaced(self.client.clone(), namespace);
        let secrets = match found("ServiceAccount", namespace, name, accounts.get(name).await)? {
            Found::Object(account) => account.image_pull_secrets.unwrap_or_default(),
            Found::Missing => Vec::new(),
            Found::Forbidden => {
                self.report.note_forbidden_account(account);
                Vec::new()
            }
        };
        Ok(secrets.into_iter().map(|secret| secret.name).collect())
    }

    /// Content of a pull secret, or the reason why it has none.
    async fn pull_secret(
        &self,
        (namespace, name): &Name,
    ) -> Result<Result<DockerConfig, SecretResult>, CandidateError> {
        let secrets = Api::<Secret>::namespaced(self.client.clone(), namespace);
        let secret = match found("Secret", namespace, name, secrets.get(name).await)? {
            Found::Object(secret) => secret,
            Found::Missing => return Ok(Err(SecretResult::Missing)),
            Found::Forbidden => return Ok(Err(SecretResult::Forbidden)),
        };
        let Some(content) = content_of(&secret) else {
            let type_ = secret.type_.as_deref().unwrap_or_default();
            tracing::warn!(namespace, name, type_, "ignoring a pull secret that the kubelet ignores too");
            return Ok(Err(SecretResult::Unusable));
        };
        Ok(DockerConfig::parse_pull_secret(content).map_err(|error| {
            tracing::warn!(namespace, name, %error, "ignoring an unreadable pull secret");
            SecretResult::Unusable
        }))
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

/// Tells a missing object and a withheld right from an answer that says nothing about the object.
fn found<K>(
    kind: &'static str,
    namespace: &str,
    name: &str,
    answer: kube::Result<K>,
) -> Result<Found<K>, CandidateError> {
    match answer {
        Ok(object) => Ok(Found::Object(object)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Found::Missing),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(Found::Forbidden),
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

//! Reads and writes the two Secrets and the webhook configuration with optimistic locking, so that two
//! controllers never undo each other's writes.
//!
//! Every write names the `resourceVersion` that the decision was based on. The API server rejects the write
//! as a conflict if another controller wrote in between.
//!
//! Objects are read against the order of their dependencies: configuration and serving Secret first, the
//! authority last. A controller that replaces a configuration or a serving certificate therefore knows the
//! authority of the version that it replaces, or a newer one.

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use zstart_core::keys;

use super::CertificateSettings;
use super::next_step::{CurrentState, WebhookBundle};
use super::secret_data::{Authority, Data, ServingCertificate};

/// Error of a request to the API server.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A Secret can't be read.
    #[error("failed to read the Secret {namespace}/{name}")]
    ReadSecret {
        /// Namespace of the Secret.
        namespace: String,
        /// Name of the object.
        name: String,
        /// Error of the API server.
        #[source]
        source: kube::Error,
    },
    /// A Secret can't be written.
    #[error("failed to write the Secret {namespace}/{name}")]
    WriteSecret {
        /// Namespace of the Secret.
        namespace: String,
        /// Name of the object.
        name: String,
        /// Error of the API server.
        #[source]
        source: kube::Error,
    },
    /// The webhook configuration can't be read.
    #[error("failed to read the MutatingWebhookConfiguration {name}")]
    ReadConfiguration {
        /// Name of the object.
        name: String,
        /// Error of the API server.
        #[source]
        source: kube::Error,
    },
    /// The webhook configuration can't be written.
    #[error("failed to write caBundle of the MutatingWebhookConfiguration {name}")]
    WriteConfiguration {
        /// Name of the object.
        name: String,
        /// Error of the API server.
        #[source]
        source: kube::Error,
    },
}

/// Result of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteResult {
    /// The object was written.
    Written,
    /// The object changed since it was read. Read again.
    Conflict,
}

/// The objects at the time of one read.
pub struct Snapshot {
    /// Content of the objects.
    pub state: CurrentState,
    authority: Option<Secret>,
    serving: Option<Secret>,
    configuration_version: Option<String>,
}

/// The three objects in the API server.
pub struct CertificateStore {
    secrets: Api<Secret>,
    configurations: Api<MutatingWebhookConfiguration>,
    settings: CertificateSettings,
    namespace: String,
}

impl CertificateStore {
    /// Uses `client` for all requests.
    pub fn new(client: Client, settings: CertificateSettings, namespace: String) -> Self {
        let secrets = Api::namespaced(client.clone(), &namespace);
        Self { secrets, configurations: Api::all(client), settings, namespace }
    }

    /// Reads the objects from the API server, not from a cache.
    pub async fn read(&self) -> Result<Snapshot, StoreError> {
        let configuration = self.read_configuration().await?;
        let serving = self.read_secret(&self.settings.serving_secret).await?;
        let authority = self.read_secret(&self.settings.ca_secret).await?;
        let state = CurrentState {
            bundles: configuration.as_ref().map(|configuration| self.bundles(configuration)),
            serving: serving.as_ref().map(|secret| ServingCertificate::read(data(secret))),
            authority: authority.as_ref().map(|secret| Authority::read(data(secret))),
        };
        let configuration_version = configuration.and_then(|object| object.metadata.resource_version);
        Ok(Snapshot { state, authority, serving, configuration_version })
    }

    async fn read_configuration(&self) -> Result<Option<MutatingWebhookConfiguration>, StoreError> {
        let name = &self.settings.configuration;
        let answer = self.configurations.get_opt(name).await;
        answer.map_err(|source| StoreError::ReadConfiguration { name: name.clone(), source })
    }

    async fn read_secret(&self, name: &str) -> Result<Option<Secret>, StoreError> {
        self.secrets.get_opt(name).await.map_err(|source| StoreError::ReadSecret {
            namespace: self.namespace.clone(),
            name: name.to_owned(),
            source,
        })
    }

    /// Bundles of the webhooks that zstart's Service serves. Other webhooks of the configuration keep their
    /// bundles.
    fn bundles(&self, configuration: &MutatingWebhookConfiguration) -> Vec<WebhookBundle> {
        let webhooks = configuration.webhooks.iter().flatten();
        webhooks
            .filter(|webhook| self.is_ours(webhook))
            .map(|webhook| WebhookBundle {
                webhook: webhook.name.clone(),
                bundle: webhook.client_config.ca_bundle.clone().map(|bundle| bundle.0).unwrap_or_default(),
            })
            .collect()
    }

    fn is_ours(&self, webhook: &MutatingWebhook) -> bool {
        webhook.client_config.service.as_ref().is_some_and(|service| {
            service.name == self.settings.service && service.namespace == self.namespace
        })
    }

    /// Writes the authority's Secret.
    pub async fn write_authority(&self, snapshot: &Snapshot, data: Data) -> Result<WriteResult, StoreError> {
        self.write_secret(&self.settings.ca_secret, snapshot.authority.as_ref(), "Opaque", data).await
    }

    /// Writes the serving Secret.
    pub async fn write_serving(&self, snapshot: &Snapshot, data: Data) -> Result<WriteResult, StoreError> {
        let kind = "kubernetes.io/tls";
        self.write_secret(&self.settings.serving_secret, snapshot.serving.as_ref(), kind, data).await
    }

    async fn write_secret(
        &self,
        name: &str,
        old: Option<&Secret>,
        kind: &str,
        data: Data,
    ) -> Result<WriteResult, StoreError> {
        let parameters = PostParams { field_manager: Some(keys::CONTROLLER.to_owned()), dry_run: false };
        let answer = if let Some(old) = old {
            // Keeps labels, other metadata and the `resourceVersion`, which is the precondition.
            let mut secret = old.clone();
            secret.data = Some(data);
            self.secrets.replace(name, &parameters, &secret).await
        } else {
            let mut secret = Secret { data: Some(data), type_: Some(kind.to_owned()), ..Secret::default() };
            secret.metadata.name = Some(name.to_owned());
            secret.metadata.labels = Some(labels());
            self.secrets.create(&parameters, &secret).await
        };
        write_result(answer).map_err(|source| StoreError::WriteSecret {
            namespace: self.namespace.clone(),
            name: name.to_owned(),
            source,
        })
    }

    /// Writes the bundle into every webhook of the snapshot.
    ///
    /// Server-side apply of the one field makes the controller its owner and leaves the rest to Helm. The
    /// chart doesn't name the field, so an upgrade doesn't change it.
    pub async fn write_bundle(&self, snapshot: &Snapshot, bundle: String) -> Result<WriteResult, StoreError> {
        let name = &self.settings.configuration;
        let bundle = k8s_openapi::ByteString(bundle.into_bytes());
        let webhooks = snapshot
            .state
            .bundles
            .iter()
            .flatten()
            .map(|webhook| json!({"name": webhook.webhook, "clientConfig": {"caBundle": bundle}}));
        let patch = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            // With a version, apply never creates the object. Helm fails on an object that exists already.
            "metadata": {"name": name, "resourceVersion": snapshot.configuration_version},
            "webhooks": webhooks.collect::<Vec<_>>(),
        });
        let parameters = PatchParams::apply(keys::CONTROLLER).force();
        let answer = self.configurations.patch_metadata(name, &parameters, &Patch::Apply(&patch)).await;
        write_result(answer).map_err(|source| StoreError::WriteConfiguration { name: name.clone(), source })
    }
}

fn data(secret: &Secret) -> &Data {
    static EMPTY: Data = Data::new();
    secret.data.as_ref().unwrap_or(&EMPTY)
}

fn labels() -> std::collections::BTreeMap<String, String> {
    let pairs = [("app.kubernetes.io/name", "zstart"), ("app.kubernetes.io/managed-by", keys::CONTROLLER)];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Maps conflicts to [`WriteResult::Conflict`]. Not found is one: the object existed when it was read.
fn write_result<T>(answer: kube::Result<T>) -> Result<WriteResult, kube::Error> {
    match answer {
        Ok(_) => Ok(WriteResult::Written),
        Err(kube::Error::Api(status))
            if status.is_conflict() || status.is_already_exists() || status.is_not_found() =>
        {
            Ok(WriteResult::Conflict)
        }
        Err(error) => Err(error),
    }
}

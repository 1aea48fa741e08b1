//! The way to all registries.

use std::fmt;
use std::sync::Arc;

use zstart_core::Reference;

use crate::api::manifests;
use crate::auth::{Credentials, PullAuthorization};
use crate::client::Client;
use crate::ecr::EcrRegistries;
use crate::error::{RegistryError, RequestError};
use crate::http::{ClientError, HttpClients};
use crate::operation::Operation;
use crate::options::RegistryOptions;
use crate::repository::RegistryRepository;
use crate::store::{ManifestKey, Store};
use crate::transport::Transport;

/// Opens repositories of registries. Clones share connections and quotas.
#[derive(Clone)]
pub struct RegistryClient {
    options: Arc<RegistryOptions>,
    http: HttpClients,
    ecr: Arc<EcrRegistries>,
}

impl RegistryClient {
    /// A client. TLS uses the process's default rustls provider and the system's root certificates.
    pub fn new(options: RegistryOptions) -> Result<Self, ClientError> {
        let http = HttpClients::new(options.timeouts)?;
        Ok(Self { http, options: Arc::new(options), ecr: Arc::default() })
    }

    /// Opens the repository of `reference`. Makes no request.
    pub fn repository(&self, reference: &Reference, credentials: Credentials) -> Arc<dyn Store> {
        tracing::debug!(repository = %reference.name(), ?credentials, "opened repository");
        let client = self.client(reference, credentials);
        Arc::new(RegistryRepository::new(reference.name(), client, self.options.retry))
    }

    /// Logs in to read the image that `reference` names, and proves the login by a look at its manifest: some
    /// registries ask for a login at single requests only. The result is for another client that reads the
    /// same repository.
    pub async fn pull_authorization(
        &self,
        reference: &Reference,
        credentials: Credentials,
    ) -> Result<PullAuthorization, RegistryError> {
        let client = self.client(reference, credentials);
        let log_in = || async {
            manifests::require_readable(&client, ManifestKey::from(reference)).await?;
            client.pull_authorization().await
        };
        let on_retry = |error: &RequestError| {
            tracing::debug!(error = zstart_core::chain(error), "retrying a login");
        };
        let found = self.options.retry.run(log_in, RequestError::kind, on_retry).await;
        let operation = Operation::pull("log in to pull", reference);
        found.map_err(|error| error.during(operation, reference.registry()))
    }

    fn client(&self, reference: &Reference, credentials: Credentials) -> Client {
        let (http, options) = (self.http.clone(), Arc::clone(&self.options));
        let ecr = self.ecr.get(reference.registry());
        let transport = Transport::new(http, options, reference.registry());
        Client::new(transport, reference.repository(), credentials, ecr)
    }
}

impl fmt::Debug for RegistryClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RegistryClient").field("options", &self.options).finish_non_exhaustive()
    }
}

//! The way to all registries.

use std::fmt;
use std::sync::Arc;

use zstart_core::Reference;

use crate::auth::Credentials;
use crate::client::Client;
use crate::ecr::EcrRegistries;
use crate::http::{ClientError, HttpClients};
use crate::options::RegistryOptions;
use crate::repository::RegistryRepository;
use crate::store::Store;
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
        let (http, options) = (self.http.clone(), Arc::clone(&self.options));
        let ecr = self.ecr.get(reference.registry());
        let retry = options.retry;
        let transport = Transport::new(http, options, reference.registry());
        let client = Client::new(transport, reference.repository(), credentials, ecr);
        Arc::new(RegistryRepository::new(reference.name(), client, retry))
    }
}

impl fmt::Debug for RegistryClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RegistryClient").field("options", &self.options).finish_non_exhaustive()
    }
}

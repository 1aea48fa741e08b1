//! The way to all registries.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use zstart_core::Reference;

use crate::auth::Credentials;
use crate::backoff::{Backoff, RetryPolicy};
use crate::client::Client;
use crate::ecr::EcrRegistries;
use crate::http::{ClientError, HttpClients, MinThroughput, Timeouts};
use crate::repository::RegistryRepository;
use crate::store::Store;

/// Settings for all registries.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// Registries (`host` or `host:port`) that are reached over plain http. All others need TLS.
    pub plain_http: Vec<String>,
    /// Hosts outside of a registry's own domain that may receive its logins.
    pub token_servers: Vec<String>,
    /// Timeouts of requests.
    pub timeouts: Timeouts,
    /// Lowest throughput of blobs.
    pub min_throughput: MinThroughput,
    /// Attempts of a request that fails for a passing reason.
    pub retry: RetryPolicy,
}

impl Default for RegistryOptions {
    /// TLS everywhere; four attempts a request, the second after 0.4 s.
    fn default() -> Self {
        let backoff = Backoff { initial: Duration::from_millis(400), max: Duration::from_secs(10) };
        Self {
            plain_http: Vec::new(),
            token_servers: Vec::new(),
            timeouts: Timeouts::default(),
            min_throughput: MinThroughput::default(),
            retry: RetryPolicy { backoff, attempts: 4 },
        }
    }
}

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
        let client = Client::new(http, options, reference, credentials, ecr);
        Arc::new(RegistryRepository::new(reference.name(), client, retry))
    }
}

impl fmt::Debug for RegistryClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RegistryClient").field("options", &self.options).finish_non_exhaustive()
    }
}

//! The identity, and the registries for which it has tokens.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_http_client::{pool, proxy::ProxyConfig};
use zstart_core::ecr::EcrRegistry;
use zstart_registry::credentials::{Credentials, Issuer};

use crate::error::SetupError;
use crate::service::Service;
use crate::token_provider::TokenProvider;

/// The identity that AWS's tools and SDKs find for this process: from the environment, a profile, a web
/// identity token (IRSA), a container's credentials (EKS Pod Identity), or the instance's role. It is
/// looked for when a token is needed. Cheap to clone; tokens are shared.
#[derive(Clone, Default)]
pub struct EcrIdentity {
    providers: Arc<Mutex<Providers>>,
}

/// What was needed so far.
#[derive(Default)]
struct Providers {
    http: Option<pool::Client>,
    by_service: HashMap<Service, Arc<TokenProvider>>,
}

impl EcrIdentity {
    /// Credentials for a registry (`host`), where it is one of Amazon ECR.
    pub fn credentials(&self, registry: &str) -> Result<Option<Credentials>, SetupError> {
        let service = match EcrRegistry::of(registry) {
            None => return Ok(None),
            Some(EcrRegistry::Public) => Service::Public,
            Some(EcrRegistry::Private { account: _, endpoint }) => Service::Private(endpoint),
        };
        let mut providers = self.providers.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Some(Credentials::Issued(Issuer(providers.get_or_create(service)?))))
    }
}

impl Providers {
    fn get_or_create(&mut self, service: Service) -> Result<Arc<TokenProvider>, SetupError> {
        if let Some(provider) = self.by_service.get(&service) {
            return Ok(Arc::clone(provider));
        }
        let http = match &self.http {
            Some(http) => http.clone(),
            None => self.http.insert(http_client()?).clone(),
        };
        let provider = Arc::new(TokenProvider::new(service.clone(), http));
        self.by_service.insert(service, Arc::clone(&provider));
        Ok(provider)
    }
}

/// TLS is ring's, with the system's root certificates; proxies are the environment's.
fn http_client() -> Result<pool::Client, SetupError> {
    let failed = |error: &(dyn Error + 'static)| SetupError(zstart_core::chain(error));
    let tls = Provider::Rustls(CryptoMode::Ring);
    let pool = pool::Builder::default().proxy_config(ProxyConfig::from_env()).tls_provider(tls);
    let pool = pool.build_https().map_err(|error| failed(&error))?;
    pool::Client::new(&pool).map_err(|error| failed(&error))
}

impl fmt::Debug for EcrIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EcrIdentity").finish_non_exhaustive()
    }
}

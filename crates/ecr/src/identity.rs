//! AWS identity of this process, with one token provider for each ECR service.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex};

use aws_smithy_http_client::pool;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use zstart_core::sync::lock;
use zstart_registry::ErrorKind;
use zstart_registry::auth::{Credentials, ProviderError, SharedProvider};
use zstart_registry::ecr::EcrRegistry;

use crate::error::SetupError;
use crate::mutability::MutabilityCache;
use crate::proxy::proxy_config;
use crate::service::{self, Service};
use crate::session::PrivateRepository;
use crate::token_provider::TokenProvider;

/// Identity that AWS's tools and SDKs find for this process: from the environment, a profile, a web
/// identity token (IRSA), a container's credentials (EKS Pod Identity), or the instance's role.
///
/// The AWS chain is queried when a token is needed. Clones are cheap and share their tokens.
#[derive(Clone, Default)]
pub struct EcrIdentity {
    providers: Arc<Mutex<Providers>>,
    mutability: Arc<MutabilityCache>,
}

/// HTTP client and token providers, each created at its first use.
#[derive(Default)]
struct Providers {
    http: Option<pool::Client>,
    by_service: HashMap<Service, Arc<TokenProvider>>,
}

impl EcrIdentity {
    /// Returns credentials for a registry (`host`); `None` if the registry isn't Amazon ECR.
    pub fn credentials(&self, registry: &str) -> Result<Option<Credentials>, SetupError> {
        let service = match EcrRegistry::of(registry) {
            None => return Ok(None),
            Some(EcrRegistry::Public) => Service::Public,
            Some(EcrRegistry::Private { account: _, endpoint }) => Service::Private(endpoint),
        };
        let provider = lock(&self.providers).get_or_create(service)?;
        Ok(Some(Credentials::Provider(SharedProvider(provider))))
    }

    /// Requests a new token that is valid for one repository, from a session of `role` that this identity assumes.
    /// `None` if the registry isn't a private one of Amazon ECR.
    pub async fn repository_credentials(
        &self,
        registry: &str,
        repository: &str,
        role: &str,
    ) -> Result<Option<Credentials>, ProviderError> {
        let Some(EcrRegistry::Private { account, endpoint }) = EcrRegistry::of(registry) else {
            return Ok(None);
        };
        let http = lock(&self.providers).http();
        let http = http.map_err(|error| ProviderError { message: error.0, kind: ErrorKind::Other })?;
        let repository = PrivateRepository { account: &account, endpoint: &endpoint, name: repository };
        // Futures of the AWS SDK are large.
        let password = Box::pin(service::repository_token(&repository, role, &http)).await?;
        Ok(Some(Credentials::Basic(password)))
    }

    /// Returns whether no push can move a tag, by the settings of its repository. The repository is asked for at most
    /// once an hour. `false` if the registry isn't a private one of Amazon ECR (ECR Public has no immutable
    /// tags), or if the question fails, e.g. because the identity may not call `ecr:DescribeRepositories`.
    pub async fn is_immutable(&self, registry: &str, repository: &str, tag: &str) -> bool {
        let Some(EcrRegistry::Private { account, endpoint }) = EcrRegistry::of(registry) else {
            return false;
        };
        let http = lock(&self.providers).http();
        // Futures of the AWS SDK are large.
        let request = Box::pin(async {
            let http = http.map_err(|error| ProviderError { message: error.0, kind: ErrorKind::Other })?;
            service::tag_mutability(&account, &endpoint, repository, &http).await
        });
        self.mutability.get(registry, repository, request).await.is_immutable(tag)
    }
}

impl Providers {
    fn http(&mut self) -> Result<pool::Client, SetupError> {
        match &self.http {
            Some(http) => Ok(http.clone()),
            None => Ok(self.http.insert(http_client()?).clone()),
        }
    }

    fn get_or_create(&mut self, service: Service) -> Result<Arc<TokenProvider>, SetupError> {
        if let Some(provider) = self.by_service.get(&service) {
            return Ok(Arc::clone(provider));
        }
        let http = self.http()?;
        let provider = Arc::new(TokenProvider::new(service.clone(), http));
        self.by_service.insert(service, Arc::clone(&provider));
        Ok(provider)
    }
}

/// Builds the HTTP client for AWS: TLS with ring and the system's root certificates, proxies from the
/// environment.
#[expect(clippy::disallowed_methods, reason = "programs of all kinds take their proxies from variables")]
fn http_client() -> Result<pool::Client, SetupError> {
    let failed = |error: &(dyn Error + 'static)| SetupError(zstart_core::chain(error));
    let tls = Provider::Rustls(CryptoMode::Ring);
    let proxy = proxy_config(|name| std::env::var(name).ok())?;
    let pool = pool::Builder::default().proxy_config(proxy).tls_provider(tls);
    let pool = pool.build_https().map_err(|error| failed(&error))?;
    pool::Client::new(&pool).map_err(|error| failed(&error))
}

impl fmt::Debug for EcrIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EcrIdentity").finish_non_exhaustive()
    }
}

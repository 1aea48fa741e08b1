//! HTTP to one registry: addresses and limits, no credentials of its own.

use std::sync::Arc;

use reqwest::Response;
use tokio::sync::OnceCell;

use crate::auth::Authorization;
use crate::endpoint::Endpoint;
use crate::error::{RequestError, send_error};
use crate::http::{AddressPolicy, HttpClients};
use crate::options::RegistryOptions;
use crate::request::Request;

/// Connections to one registry. Clones share them.
#[derive(Clone)]
pub(crate) struct Transport {
    http: HttpClients,
    options: Arc<RegistryOptions>,
    endpoint: Endpoint,
    /// Policy for addresses that the registry redirects to; the first redirect needs it.
    redirect_policy: Arc<OnceCell<AddressPolicy>>,
}

impl Transport {
    /// Connections to a registry as references name it (`host` or `host:port`).
    pub(crate) fn new(http: HttpClients, options: Arc<RegistryOptions>, registry: &str) -> Self {
        let is_plain_http = options.plain_http.iter().any(|host| host == registry);
        let endpoint = Endpoint::new(registry, is_plain_http);
        Self { http, options, endpoint, redirect_policy: Arc::default() }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn options(&self) -> &RegistryOptions {
        &self.options
    }

    /// The HTTP client for an address: the registry's own, or one that the registry may redirect to.
    async fn http_client(&self, request: &Request) -> Result<&reqwest::Client, RequestError> {
        let policy = if self.endpoint.is_same_origin(&request.url) {
            AddressPolicy::AllowPrivate
        } else {
            let registry = self.endpoint.base()?;
            *self.redirect_policy.get_or_init(|| self.http.redirect_policy(registry)).await
        };
        self.http.client(request.direction, policy, &request.url)
    }

    /// The error of a request without a response.
    fn send_error(&self, error: reqwest::Error) -> RequestError {
        let proxy = error.url().and_then(|url| self.http.proxy_for(url)).cloned();
        send_error(error, proxy.as_ref())
    }

    /// Sends a request with this authorization, and follows no redirect.
    pub(crate) async fn send(
        &self,
        request: &mut Request,
        authorization: &Authorization,
    ) -> Result<Response, RequestError> {
        let attempt = request.build(self.http_client(request).await?);
        authorization.authorize(attempt).send().await.map_err(|error| self.send_error(error))
    }
}

#[cfg(test)]
impl Transport {
    /// Connections to `registry`, without proxies. The registry `plain` is reached over http.
    pub(crate) fn for_tests(registry: &str, plain: &str) -> Self {
        let options = RegistryOptions { plain_http: vec![plain.to_owned()], ..RegistryOptions::default() };
        Self::new(HttpClients::for_tests(options.timeouts), Arc::new(options), registry)
    }
}

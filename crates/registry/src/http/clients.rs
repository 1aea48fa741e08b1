//! HTTP clients, by address policy and direction.

use std::net::IpAddr;
use std::sync::Arc;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Url};
use thiserror::Error;

use super::address_policy::{AddressPolicy, FilteringResolver, literal_address};
use super::timeouts::Timeouts;
use crate::error::ForbiddenAddress;

/// The client's name in registries' logs.
const USER_AGENT: &str = concat!("zstart/", env!("CARGO_PKG_VERSION"));

/// The HTTP client can't be set up, e.g. because the system has no root certificates.
#[derive(Debug, Error)]
#[error("failed to set up the HTTP client")]
pub struct ClientError {
    source: reqwest::Error,
}

/// Clients for both address policies.
#[derive(Clone, Debug)]
pub(crate) struct HttpClients {
    allow_private: ReadWriteClients,
    public_only: ReadWriteClients,
    proxies: Arc<Matcher>,
}

#[derive(Clone, Debug)]
struct ReadWriteClients {
    /// Fails when nothing arrives for the read timeout.
    reader: Client,
    /// Has no read timeout: reqwest would count the whole time of an upload (see `upload_monitor`).
    writer: Client,
}

/// Direction of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

impl HttpClients {
    /// Clients that use the process's default rustls provider, the system's root certificates, and the
    /// proxies that the environment names.
    pub(crate) fn new(timeouts: Timeouts) -> Result<Self, ClientError> {
        let clients = |policy| {
            let build = |builder: ClientBuilder| {
                // The caller follows redirects: it decides which host gets credentials.
                let builder = builder.redirect(Policy::none());
                let builder = builder.dns_resolver(Arc::new(FilteringResolver(policy)));
                let built = builder.user_agent(USER_AGENT).connect_timeout(timeouts.connect).build();
                built.map_err(|source| ClientError { source })
            };
            Ok(ReadWriteClients {
                reader: build(Client::builder().read_timeout(timeouts.read_idle))?,
                writer: build(Client::builder())?,
            })
        };
        Ok(Self {
            allow_private: clients(AddressPolicy::AllowPrivate)?,
            public_only: clients(AddressPolicy::PublicOnly)?,
            proxies: Arc::new(Matcher::from_env()),
        })
    }

    /// The client for an address. The resolver checks names; this function checks literal addresses.
    pub(crate) fn client(
        &self,
        direction: Direction,
        policy: AddressPolicy,
        url: &Url,
    ) -> Result<&Client, ForbiddenAddress> {
        let is_proxied = self.is_proxied(url);
        if let (false, Some(address)) = (is_proxied, literal_address(url)) {
            policy.check(url.host_str().unwrap_or_default(), address)?;
        }
        let clients = if policy == AddressPolicy::AllowPrivate || is_proxied {
            &self.allow_private
        } else {
            &self.public_only
        };
        Ok(match direction {
            Direction::Read => &clients.reader,
            Direction::Write => &clients.writer,
        })
    }

    /// The policy for addresses to which the registry at `url` sends its clients.
    pub(crate) async fn redirect_policy(&self, url: &Url) -> AddressPolicy {
        let Some(host) = url.host_str().filter(|_| !self.is_proxied(url)) else {
            return AddressPolicy::PublicOnly;
        };
        let addresses: Vec<IpAddr> = match literal_address(url) {
            Some(address) => vec![address],
            // A name that doesn't resolve gets no request either.
            None => match tokio::net::lookup_host((host, 0)).await {
                Ok(found) => found.map(|address| address.ip()).collect(),
                Err(_) => Vec::new(),
            },
        };
        AddressPolicy::for_redirects(&addresses)
    }

    fn is_proxied(&self, url: &Url) -> bool {
        url.as_str().parse().is_ok_and(|uri| self.proxies.intercept(&uri).is_some())
    }
}

#[cfg(test)]
impl HttpClients {
    /// Clients without proxies.
    pub(crate) fn for_tests(timeouts: Timeouts) -> Self {
        // An error means that another test installed the provider first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let proxies = Arc::new(Matcher::builder().build());
        Self { proxies, ..Self::new(timeouts).expect("clients") }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn private_name_is_reached_for_private_registries_only() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let _ = connection.read(&mut [0; 4096]).await;
                let _ = connection.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
            }
        });
        let clients = HttpClients::for_tests(Timeouts::default());
        // The address shows only when the name is resolved.
        let url: Url = format!("http://localhost:{port}/").parse().unwrap();
        for (registry, is_asked) in [
            ("https://1.1.1.1/", false),
            ("https://[2606:4700::1]/", false),
            ("https://[64:ff9b::101:101]/", false),
            ("http://localhost:5000/", true),
            ("http://10.0.0.1/", true),
            ("http://[64:ff9b::a00:1]/", true),
        ] {
            let policy = clients.redirect_policy(&registry.parse().unwrap()).await;
            for direction in [Direction::Read, Direction::Write] {
                let client = clients.client(direction, policy, &url).unwrap();
                let sent = client.get(url.clone()).send().await;
                let said = sent.err().map(|error| zstart_core::chain(&error)).unwrap_or_default();
                assert_eq!(said.is_empty(), is_asked, "{registry}: {said}");
                let is_named = said.contains("localhost has the address")
                    && said.contains("to which no registry may send");
                assert!(is_asked || is_named, "{registry}: {said}");
            }
        }
        server.abort();
    }
}

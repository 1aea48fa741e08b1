//! HTTP clients, by address policy and direction.

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Url};
use thiserror::Error;

use super::address_policy::{AddressPolicy, FilteringResolver, literal_address};
use super::proxies::{Proxies, ProxyServer};
use super::timeouts::Timeouts;
use super::trust;
use crate::error::RequestError;
use crate::loopback::LoopbackNames;

/// The client's name in registries' logs.
const USER_AGENT: &str = concat!("zstart/", env!("CARGO_PKG_VERSION"));

/// The HTTP client can't be set up, e.g. because the system has no root certificates.
#[derive(Debug, Error)]
#[error("failed to set up the HTTP client")]
pub struct ClientError {
    source: Box<dyn Error + Send + Sync>,
}

/// Clients for both address policies and for requests through a proxy.
#[derive(Clone, Debug)]
pub(crate) struct HttpClients {
    allow_private: ReadWriteClients,
    public_only: ReadWriteClients,
    /// The proxy checks addresses.
    proxied: ReadWriteClients,
    proxies: Arc<Proxies>,
    names: Arc<LoopbackNames>,
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
    #[expect(clippy::disallowed_methods, reason = "programs of all kinds take their proxies from variables")]
    pub(crate) fn new(timeouts: Timeouts) -> Result<Self, ClientError> {
        let names = Arc::new(LoopbackNames::of_system());
        let variable = |name: &str| std::env::var(name).ok();
        Self::with_proxies(timeouts, Proxies::from_variables(variable, Arc::clone(&names)), &names)
    }

    fn with_proxies(
        timeouts: Timeouts,
        proxies: Proxies,
        names: &Arc<LoopbackNames>,
    ) -> Result<Self, ClientError> {
        let tls = trust::client_config().map_err(failed)?;
        let servers = proxies.for_reqwest().map_err(failed)?;
        let clients = |policy, servers: &[reqwest::Proxy]| {
            let resolver = Arc::new(FilteringResolver { policy, names: Arc::clone(names) });
            let build = |builder: ClientBuilder| {
                // The caller follows redirects: it decides which host gets credentials.
                let builder = builder.redirect(Policy::none()).dns_resolver(Arc::clone(&resolver));
                let builder = builder.user_agent(USER_AGENT).connect_timeout(timeouts.connect);
                // reqwest reads no variables itself: `client` decides.
                let builder = builder.tls_backend_preconfigured(tls.clone()).no_proxy();
                let proxied = servers.iter().cloned().fold(builder, ClientBuilder::proxy);
                proxied.build().map_err(failed)
            };
            Ok(ReadWriteClients {
                reader: build(Client::builder().read_timeout(timeouts.read_idle))?,
                writer: build(Client::builder())?,
            })
        };
        Ok(Self {
            allow_private: clients(AddressPolicy::AllowPrivate, &[])?,
            public_only: clients(AddressPolicy::PublicOnly, &[])?,
            proxied: clients(AddressPolicy::AllowPrivate, &servers)?,
            proxies: Arc::new(proxies),
            names: Arc::clone(names),
        })
    }

    /// The client for an address. The resolver checks names; this function checks literal addresses.
    pub(crate) fn client(
        &self,
        direction: Direction,
        policy: AddressPolicy,
        url: &Url,
    ) -> Result<&Client, RequestError> {
        let clients = if self.proxies.server_for(url)?.is_some() {
            &self.proxied
        } else {
            if let Some(address) = literal_address(url) {
                policy.check(url.host_str().unwrap_or_default(), address)?;
            }
            match policy {
                AddressPolicy::AllowPrivate => &self.allow_private,
                AddressPolicy::PublicOnly => &self.public_only,
            }
        };
        Ok(match direction {
            Direction::Read => &clients.reader,
            Direction::Write => &clients.writer,
        })
    }

    /// The policy for addresses to which the registry at `url` sends its clients.
    pub(crate) async fn redirect_policy(&self, url: &Url) -> AddressPolicy {
        let is_direct = matches!(self.proxies.server_for(url), Ok(None));
        let Some(host) = url.host_str().filter(|_| is_direct) else {
            return AddressPolicy::PublicOnly;
        };
        let addresses: Vec<IpAddr> = match literal_address(url) {
            Some(address) => vec![address],
            None => match self.names.addresses(host) {
                Some(addresses) => addresses,
                // A name that doesn't resolve gets no request either.
                None => match tokio::net::lookup_host((host, 0)).await {
                    Ok(found) => found.map(|address| address.ip()).collect(),
                    Err(_) => Vec::new(),
                },
            },
        };
        AddressPolicy::for_redirects(&addresses)
    }

    /// The proxy of requests to a URL.
    pub(crate) fn proxy_for(&self, url: &Url) -> Option<&ProxyServer> {
        self.proxies.server_for(url).ok().flatten()
    }
}

fn failed(source: impl Into<Box<dyn Error + Send + Sync>>) -> ClientError {
    ClientError { source: source.into() }
}

#[cfg(test)]
impl HttpClients {
    /// Clients without proxies.
    pub(crate) fn for_tests(timeouts: Timeouts) -> Self {
        // An error means that another test installed the provider first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self::with_proxies(timeouts, Proxies::default(), &Arc::default()).expect("clients")
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

    #[tokio::test]
    async fn hosts_file_name_is_reached_without_dns_and_proxy() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let length = connection.read(&mut head).await.unwrap();
            connection.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await.unwrap();
            String::from_utf8_lossy(&head[..length]).into_owned()
        });
        let names = Arc::new(LoopbackNames::parse("127.0.0.1 registry.invalid\n"));
        let proxy = |name: &str| (name == "ALL_PROXY").then(|| "http://127.0.0.1:1".to_owned());
        let proxies = Proxies::from_variables(proxy, Arc::clone(&names));
        let clients = HttpClients::with_proxies(Timeouts::default(), proxies, &names).unwrap();
        let url: Url = format!("http://registry.invalid:{port}/v2/").parse().unwrap();
        let get = async |policy| {
            let client = clients.client(Direction::Read, policy, &url).unwrap();
            client.get(url.clone()).send().await
        };
        // Without DNS, the names say that the registry is on this machine.
        let policy = clients.redirect_policy(&url).await;
        assert_eq!(policy, AddressPolicy::AllowPrivate);
        assert_eq!(get(policy).await.unwrap().status(), 204);
        // A registry on the Internet must not send its clients here.
        let refused = zstart_core::chain(&get(AddressPolicy::PublicOnly).await.unwrap_err());
        assert!(refused.contains("to which no registry may send"), "{refused}");
        let head = server.await.unwrap();
        assert!(head.starts_with("GET /v2/ HTTP/1.1\r\n"), "{head}");
    }
}

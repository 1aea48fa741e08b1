//! Which addresses a registry may be at, and where it may send those who ask it.
//!
//! A name in a reference, a redirect, a realm or a `Location` may resolve to anything. Addresses of the
//! link itself (cloud metadata services have such) are never asked; private ones only where the
//! registry itself has one: one from the Internet has no business to send its readers into
//! somebody's network. What goes through a proxy is the proxy's to judge.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Url};
use thiserror::Error;

use super::ClientError;
use super::limits::Limits;

/// What registries see as the client's name.
const USER_AGENT: &str = concat!("zstart/", env!("CARGO_PKG_VERSION"));

/// Who may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Everybody but the link itself.
    Networks,
    /// Public addresses alone.
    Public,
}

/// An address that isn't asked.
#[derive(Debug, Error)]
#[error("{host} has the address {address}, where no registry may send its readers")]
pub(super) struct Forbidden {
    host: String,
    address: IpAddr,
}

/// HTTP clients, one pair for each [`Reach`].
#[derive(Clone, Debug)]
pub(super) struct Network {
    own: Pair,
    public: Pair,
    proxies: Arc<Matcher>,
}

#[derive(Clone, Debug)]
struct Pair {
    /// For reading: gives up when nothing comes.
    reader: Client,
    /// For writing. (reqwest would count the whole time in which a layer is sent: see `silence`.)
    writer: Client,
}

/// What a client is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
}

impl Network {
    /// Clients that use the process's default rustls provider, the system's root certificates, and the
    /// proxies that the environment names.
    pub(super) fn new(limits: Limits) -> Result<Self, ClientError> {
        let pair = |reach| {
            let builder = |builder: ClientBuilder| {
                // Where an answer leads elsewhere, whoever made the request decides who is told what there.
                let builder = builder.redirect(Policy::none()).dns_resolver(Arc::new(Guard(reach)));
                let built = builder.user_agent(USER_AGENT).connect_timeout(limits.connect).build();
                built.map_err(|error| ClientError { message: zstart_core::chain(&error) })
            };
            Ok(Pair {
                reader: builder(Client::builder().read_timeout(limits.silence))?,
                writer: builder(Client::builder())?,
            })
        };
        let proxies = Arc::new(Matcher::from_env());
        Ok(Self { own: pair(Reach::Networks)?, public: pair(Reach::Public)?, proxies })
    }

    /// The client for an address. Names are judged when they are resolved, addresses here.
    pub(super) fn client(&self, direction: Direction, reach: Reach, url: &Url) -> Result<&Client, Forbidden> {
        let is_proxied = self.is_proxied(url);
        if let (false, Some(address)) = (is_proxied, literal(url)) {
            check(reach, url.host_str().unwrap_or_default(), address)?;
        }
        let pair = if reach == Reach::Networks || is_proxied { &self.own } else { &self.public };
        Ok(match direction {
            Direction::Read => &pair.reader,
            Direction::Write => &pair.writer,
        })
    }

    /// Where a registry at this address may send its readers.
    pub(super) async fn reach_of(&self, url: &Url) -> Reach {
        let Some(host) = url.host_str().filter(|_| !self.is_proxied(url)) else { return Reach::Public };
        let addresses: Vec<IpAddr> = match literal(url) {
            Some(address) => vec![address],
            // One that can't be resolved answers nothing either.
            None => match tokio::net::lookup_host((host, 0)).await {
                Ok(found) => found.map(|address| address.ip()).collect(),
                Err(_) => Vec::new(),
            },
        };
        if addresses.into_iter().any(|address| is_private(address.to_canonical())) {
            Reach::Networks
        } else {
            Reach::Public
        }
    }

    fn is_proxied(&self, url: &Url) -> bool {
        url.as_str().parse().is_ok_and(|uri| self.proxies.intercept(&uri).is_some())
    }
}

/// A resolver that leaves out what may not be asked.
struct Guard(Reach);

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((&*host, 0)).await?.collect();
            let mut allowed = Vec::new();
            let mut forbidden = None;
            for address in found {
                match check(reach, &host, address.ip()) {
                    Ok(()) => allowed.push(address),
                    Err(error) => forbidden = Some(error),
                }
            }
            match forbidden {
                Some(error) if allowed.is_empty() => Err(error.into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

fn check(reach: Reach, host: &str, address: IpAddr) -> Result<(), Forbidden> {
    let canonical = address.to_canonical();
    if is_of_the_link(canonical) || (reach == Reach::Public && is_private(canonical)) {
        return Err(Forbidden { host: host.to_owned(), address });
    }
    Ok(())
}

fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse().ok()
}

/// The first segments of Amazon's own services over IPv6: metadata, DNS, time. (Over IPv4 they are
/// link-local.)
const EC2_SERVICES: [u16; 2] = [0xfd00, 0xec2];

/// Addresses that mean something on the link or nothing at all (IANA special-purpose registries).
fn is_of_the_link(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.octets()[0] == 0
                || address.is_link_local()
                || address.is_multicast()
                || address.is_broadcast()
                // Alibaba Cloud's metadata service.
                || address == Ipv4Addr::new(100, 100, 100, 200)
        }
        IpAddr::V6(address) => {
            address.is_unspecified()
                || address.is_unicast_link_local()
                || address.is_multicast()
                || address.segments()[..2] == EC2_SERVICES
        }
    }
}

/// Addresses of somebody's own network or machine.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            address.is_private() || address.is_loopback() || (first == 100 && second & 0xc0 == 64)
        }
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_link_are_never_asked_and_private_ones_only_by_private_registries() {
        let allowed = |reach, address: &str| check(reach, "x", address.parse().unwrap()).is_ok();
        for address in [
            "169.254.169.254",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "100.100.100.200",
            "::",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "::ffff:169.254.169.254",
        ] {
            assert!(!allowed(Reach::Networks, address) && !allowed(Reach::Public, address), "{address}");
        }
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "::1",
            "fc00::1",
            "fd12::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(allowed(Reach::Networks, address) && !allowed(Reach::Public, address), "{address}");
        }
        for address in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1", "::ffff:1.1.1.1"] {
            assert!(allowed(Reach::Networks, address) && allowed(Reach::Public, address), "{address}");
        }
    }

    #[test]
    fn an_address_in_whatever_spelling_is_judged_as_what_it_is() {
        let judged = |text: &str| {
            literal(&text.parse().unwrap()).map(|address| is_of_the_link(address.to_canonical()))
        };
        for text in [
            "http://169.254.169.254/",
            "http://2852039166/",
            "http://0xa9fea9fe/",
            "http://[::ffff:a9fe:a9fe]/",
        ] {
            assert_eq!(judged(text), Some(true), "{text}");
        }
        assert_eq!(judged("https://registry.example/"), None);
    }
}

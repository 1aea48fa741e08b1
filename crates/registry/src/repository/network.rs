//! Which addresses a registry may be at, and where it may send those who ask it.
//!
//! A name in a reference, a redirect, a realm or a `Location` may resolve to anything. Addresses of the
//! link itself (cloud metadata services have such) are never asked; private ones only where the
//! registry itself has one: one from the Internet has no business to send its readers into
//! somebody's network. What goes through a proxy is the proxy's to judge.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
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
        if addresses.into_iter().any(|address| is_private(destination(address))) {
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
    let destination = destination(address);
    if is_of_the_link(destination) || (reach == Reach::Public && is_private(destination)) {
        return Err(Forbidden { host: host.to_owned(), address });
    }
    Ok(())
}

fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse().ok()
}

/// Where packets to an address end: some of IPv6 are only another way to write one of IPv4, or are
/// translated into it.
fn destination(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => embedded(address).map_or(IpAddr::V6(address), IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// The IPv4 address inside one of IPv6: compatible and mapped (RFC 4291, 2.5.5), translated (RFC 2765,
/// 2.1), of NAT64, by which a network without IPv4 reaches what has no IPv6 (RFC 6052, 2.1), of 6to4
/// (RFC 3056).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        // It looks like a compatible one.
        _ if address.is_loopback() => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))),
        _ => None,
    }
}

/// The first segments of addresses that a network translates as it likes (RFC 8215).
const LOCAL_NAT64: [u16; 3] = [0x64, 0xff9b, 1];
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
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.segments()[..3] == LOCAL_NAT64
        }
    }
}

#[cfg(test)]
impl Network {
    /// One for tests. It knows of no proxy.
    pub(super) fn of_tests(limits: Limits) -> Self {
        // An error says that another test was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let proxies = Arc::new(Matcher::builder().build());
        Self { proxies, ..Self::new(limits).expect("clients") }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

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
        let judged =
            |text: &str| literal(&text.parse().unwrap()).map(|address| is_of_the_link(destination(address)));
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
    #[test]
    fn an_ipv4_address_inside_of_one_of_ipv6_is_judged_as_what_it_is() {
        let of_ipv4 = |address: &str| -> Vec<IpAddr> {
            let v4: Ipv4Addr = address.parse().unwrap();
            let [high, low] = [v4.to_bits() >> 16, v4.to_bits() & 0xffff];
            let forms = [
                format!("::{v4}"),
                format!("::ffff:{v4}"),
                format!("::ffff:0:{v4}"),
                format!("64:ff9b::{v4}"),
                format!("2002:{high:x}:{low:x}::1"),
            ];
            forms.iter().map(|form| form.parse().unwrap()).collect()
        };
        for (address, by_private, by_public) in [
            ("169.254.169.254", false, false),
            ("100.100.100.200", false, false),
            ("127.0.0.1", true, false),
            ("10.1.2.3", true, false),
            ("192.168.1.1", true, false),
            ("1.1.1.1", true, true),
        ] {
            for form in of_ipv4(address) {
                assert_eq!(check(Reach::Networks, "x", form).is_ok(), by_private, "{form}");
                assert_eq!(check(Reach::Public, "x", form).is_ok(), by_public, "{form}");
            }
        }
        let own: IpAddr = "64:ff9b:1::101:101".parse().unwrap();
        assert!(check(Reach::Networks, "x", own).is_ok() && check(Reach::Public, "x", own).is_err());
    }

    #[tokio::test]
    async fn a_name_that_leads_into_a_network_is_asked_on_behalf_of_private_registries_alone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let _ = connection.read(&mut [0; 4096]).await;
                let _ = connection.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
            }
        });
        let network = Network::of_tests(Limits::default());
        // A name says nothing before it is resolved.
        let url: Url = format!("http://localhost:{port}/").parse().unwrap();
        for (registry, is_asked) in [
            ("https://1.1.1.1/", false),
            ("https://[2606:4700::1]/", false),
            ("https://[64:ff9b::101:101]/", false),
            ("http://localhost:5000/", true),
            ("http://10.0.0.1/", true),
            ("http://[64:ff9b::a00:1]/", true),
        ] {
            let reach = network.reach_of(&registry.parse().unwrap()).await;
            for direction in [Direction::Read, Direction::Write] {
                let client = network.client(direction, reach, &url).unwrap();
                let sent = client.get(url.clone()).send().await;
                let said = sent.err().map(|error| zstart_core::chain(&error)).unwrap_or_default();
                assert_eq!(said.is_empty(), is_asked, "{registry}: {said}");
                let is_named =
                    said.contains("localhost has the address") && said.contains("where no registry may send");
                assert!(is_asked || is_named, "{registry}: {said}");
            }
        }
        server.abort();
    }

    #[tokio::test]
    async fn of_a_name_only_the_addresses_that_may_be_asked_are_left() {
        let found = async |reach| Guard(reach).resolve("localhost".parse().unwrap()).await;
        let addresses: Vec<SocketAddr> = found(Reach::Networks).await.unwrap().collect();
        assert!(!addresses.is_empty() && addresses.iter().all(|address| address.ip().is_loopback()));
        let error = found(Reach::Public).await.err().unwrap();
        assert!(error.is::<Forbidden>(), "{error}");
    }
}

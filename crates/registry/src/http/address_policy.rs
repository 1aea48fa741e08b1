//! Addresses that zstart connects to.
//!
//! A name in a reference, a redirect, a realm or a `Location` may resolve to anything, so addresses are
//! checked after DNS. zstart never connects to link-local addresses, where clouds serve instance metadata.
//! It connects to a private address only for a registry whose own addresses are all private: a registry on
//! the Internet must not send its clients into a private network. Requests through a proxy are the proxy's
//! to check.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;

use crate::error::{ForbiddenAddress, ForbiddenReason};
use crate::loopback::LoopbackNames;

/// Addresses that a request may go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressPolicy {
    /// All but link-local and reserved ones.
    AllowPrivate,
    /// Public ones alone.
    PublicOnly,
}

/// First segments of the prefix that a network translates as it likes (RFC 8215).
const LOCAL_NAT64: [u16; 3] = [0x64, 0xff9b, 1];
/// First segments of Amazon's own services over IPv6: metadata, DNS, time. (Over IPv4 they are link-local.)
const EC2_SERVICES: [u16; 2] = [0xfd00, 0xec2];

impl AddressPolicy {
    /// The policy for addresses to which a registry at these addresses sends its clients. Each address that
    /// zstart may connect to must be private: the DNS server of a registry on the Internet may add a private
    /// one.
    pub(crate) fn for_redirects(registry: &[IpAddr]) -> Self {
        let destinations = registry.iter().map(|address| destination(*address));
        let mut usable = destinations.filter(|address| !is_link_local_or_reserved(*address)).peekable();
        if usable.peek().is_some() && usable.all(is_private) { Self::AllowPrivate } else { Self::PublicOnly }
    }

    /// Refuses an address of `host` that no request may go to.
    pub(crate) fn check(self, host: &str, address: IpAddr) -> Result<(), ForbiddenAddress> {
        let destination = destination(address);
        let reason = match self {
            _ if destination.is_unspecified() => ForbiddenReason::Unspecified,
            _ if is_link_local_or_reserved(destination) => ForbiddenReason::LinkLocalOrReserved,
            Self::PublicOnly if is_private(destination) => ForbiddenReason::Private,
            Self::AllowPrivate | Self::PublicOnly => return Ok(()),
        };
        Err(ForbiddenAddress { host: host.to_owned(), address, reason })
    }
}

/// DNS resolver that leaves out forbidden addresses. Loopback names have fixed addresses.
pub(super) struct FilteringResolver {
    pub(super) policy: AddressPolicy,
    pub(super) names: Arc<LoopbackNames>,
}

/// A name that can't be resolved.
#[derive(Debug, Error)]
#[error("failed to resolve {host}")]
pub(crate) struct UnknownHost {
    host: String,
    source: io::Error,
}

impl Resolve for FilteringResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.policy;
        let host = name.as_str().to_owned();
        let loopback = self.names.addresses(&host);
        Box::pin(async move {
            let found: Vec<SocketAddr> = if let Some(addresses) = loopback {
                addresses.into_iter().map(|address| (address, 0).into()).collect()
            } else {
                let resolved = tokio::net::lookup_host((&*host, 0)).await;
                let failed = |source| UnknownHost { host: host.clone(), source };
                resolved.map_err(failed)?.collect()
            };
            let mut allowed = Vec::new();
            let mut forbidden = None;
            for address in found {
                match policy.check(&host, address.ip()) {
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

/// The address that a URL names without DNS.
pub(super) fn literal_address(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse().ok()
}

/// The address where packets end: some IPv6 addresses are another spelling of an IPv4 address, or are
/// translated into one.
fn destination(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => embedded_ipv4(address).map_or(IpAddr::V6(address), IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// The IPv4 address inside an IPv6 address: compatible and mapped (RFC 4291, 2.5.5), translated (RFC 2765,
/// 2.1), NAT64, by which a network without IPv4 reaches hosts without IPv6 (RFC 6052, 2.1), 6to4 (RFC 3056).
fn embedded_ipv4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        // Loopback looks like a compatible address.
        _ if address.is_loopback() => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))),
        _ => None,
    }
}

/// Addresses that mean something on the link alone, or nothing (IANA special-purpose registries).
fn is_link_local_or_reserved(address: IpAddr) -> bool {
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

/// Addresses of a private network or of the machine itself (IANA special-purpose registries).
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.is_private()
                || address.is_loopback()
                || match address.octets() {
                    // Carriers (RFC 6598), protocols (RFC 6890), benchmarks (RFC 2544), the former class E. Google
                    // Cloud lists all four as ranges of private networks.
                    [100, second, ..] => second & 0xc0 == 64,
                    [192, 0, 0, _] | [198, 18 | 19, ..] | [240..=255, ..] => true,
                    _ => false,
                }
        }
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unique_local()
                || address.segments()[..3] == LOCAL_NAT64
                // Site-local addresses, which RFC 3879 replaced.
                || address.segments()[0] & 0xffc0 == 0xfec0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_is_always_forbidden_and_private_by_policy() {
        let allowed =
            |policy: AddressPolicy, address: &str| policy.check("x", address.parse().unwrap()).is_ok();
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
            assert!(
                !allowed(AddressPolicy::AllowPrivate, address)
                    && !allowed(AddressPolicy::PublicOnly, address),
                "{address}"
            );
        }
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "198.19.255.255",
            "240.0.0.1",
            "255.255.255.254",
            "::1",
            "fec0::1",
            "feff::1",
            "::ffff:240.0.0.1",
            "fc00::1",
            "fd12::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(
                allowed(AddressPolicy::AllowPrivate, address) && !allowed(AddressPolicy::PublicOnly, address),
                "{address}"
            );
        }
        for address in [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "192.0.1.1",
            "198.17.255.255",
            "198.20.0.1",
            "2606:4700::1",
            "::ffff:1.1.1.1",
        ] {
            assert!(
                allowed(AddressPolicy::AllowPrivate, address) && allowed(AddressPolicy::PublicOnly, address),
                "{address}"
            );
        }
    }

    #[test]
    fn registry_with_one_public_address_is_public() {
        for (addresses, policy) in [
            (&[][..], AddressPolicy::PublicOnly),
            (&["10.0.0.1"], AddressPolicy::AllowPrivate),
            (&["10.0.0.1", "fd12::1", "64:ff9b::a00:1"], AddressPolicy::AllowPrivate),
            // mDNS adds link-local addresses.
            (&["10.0.0.1", "fe80::1"], AddressPolicy::AllowPrivate),
            (&["fe80::1"], AddressPolicy::PublicOnly),
            (&["1.1.1.1", "10.0.0.1"], AddressPolicy::PublicOnly),
            (&["10.0.0.1", "2606:4700::1"], AddressPolicy::PublicOnly),
        ] {
            let parsed: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
            assert_eq!(AddressPolicy::for_redirects(&parsed), policy, "{addresses:?}");
        }
    }

    #[test]
    fn forbidden_address_is_named_with_its_reason() {
        let reason = |address: &str| {
            AddressPolicy::PublicOnly.check("x", address.parse().unwrap()).unwrap_err().reason
        };
        for address in ["0.0.0.0", "::", "::ffff:0.0.0.0"] {
            assert_eq!(reason(address), ForbiddenReason::Unspecified, "{address}");
        }
        for address in ["0.0.0.1", "169.254.169.254", "fe80::1", "::ffff:169.254.169.254"] {
            assert_eq!(reason(address), ForbiddenReason::LinkLocalOrReserved, "{address}");
        }
        for address in ["10.0.0.1", "::1", "fec0::1", "64:ff9b::a00:1"] {
            assert_eq!(reason(address), ForbiddenReason::Private, "{address}");
        }
    }

    #[test]
    fn every_spelling_of_an_address_is_checked() {
        let forbidden = |text: &str| {
            literal_address(&text.parse().unwrap())
                .map(|address| is_link_local_or_reserved(destination(address)))
        };
        for text in [
            "http://169.254.169.254/",
            "http://2852039166/",
            "http://0xa9fea9fe/",
            "http://[::ffff:a9fe:a9fe]/",
        ] {
            assert_eq!(forbidden(text), Some(true), "{text}");
        }
        assert_eq!(forbidden("https://registry.example/"), None);
    }

    #[test]
    fn embedded_ipv4_address_is_checked_as_ipv4() {
        let forms_of = |address: &str| -> Vec<IpAddr> {
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
            for form in forms_of(address) {
                assert_eq!(AddressPolicy::AllowPrivate.check("x", form).is_ok(), by_private, "{form}");
                assert_eq!(AddressPolicy::PublicOnly.check("x", form).is_ok(), by_public, "{form}");
            }
        }
        let local_nat64: IpAddr = "64:ff9b:1::101:101".parse().unwrap();
        assert!(
            AddressPolicy::AllowPrivate.check("x", local_nat64).is_ok()
                && AddressPolicy::PublicOnly.check("x", local_nat64).is_err()
        );
    }

    #[tokio::test]
    async fn resolver_leaves_out_forbidden_addresses() {
        let found = async |policy| {
            let resolver = FilteringResolver { policy, names: Arc::default() };
            resolver.resolve("localhost".parse().unwrap()).await
        };
        let addresses: Vec<SocketAddr> = found(AddressPolicy::AllowPrivate).await.unwrap().collect();
        assert!(!addresses.is_empty() && addresses.iter().all(|address| address.ip().is_loopback()));
        let error = found(AddressPolicy::PublicOnly).await.err().unwrap();
        assert!(error.is::<ForbiddenAddress>(), "{error}");
    }
}

//! Hosts that are this machine.
//!
//! The decision makes no DNS request: a proxied environment may have no DNS, and an answer may change between
//! the decision and the connection. A name is loopback by its form (RFC 6761, 6.3) or by the hosts file. Its
//! addresses are then fixed, and no resolver is asked for them. Only a name's form says that its server may
//! have plain HTTP: names of the hosts file often lead through a tunnel to another machine.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

/// File with names that the system resolves without DNS.
const HOSTS_FILE: &str = "/etc/hosts";
/// Addresses of `localhost` if the hosts file lists none.
const LOCALHOST: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Names that mean this machine.
#[derive(Debug, Default)]
pub(crate) struct LoopbackNames {
    /// Names of the hosts file that have loopback addresses only.
    listed: HashMap<String, Vec<IpAddr>>,
}

impl LoopbackNames {
    /// Reads the hosts file. A missing file lists no names.
    pub(crate) fn of_system() -> Self {
        Self::parse(&std::fs::read_to_string(HOSTS_FILE).unwrap_or_default())
    }

    /// Reads a hosts file's text (hosts(5)): an address and its names a line, comments after `#`.
    pub(crate) fn parse(hosts: &str) -> Self {
        let mut listed = HashMap::<String, Vec<IpAddr>>::new();
        for line in hosts.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(Ok(address)) = words.next().map(str::parse) else { continue };
            for name in words {
                listed.entry(normalised(name)).or_default().push(address);
            }
        }
        listed.retain(|_, addresses| addresses.iter().all(|address| is_loopback(*address)));
        Self { listed }
    }

    /// Loopback addresses of a host, as a URL spells the host (IPv6 addresses may have brackets). `None` if the
    /// host is, or may be, another machine.
    pub(crate) fn addresses(&self, host: &str) -> Option<Vec<IpAddr>> {
        if let Ok(address) = host.trim_matches(['[', ']']).parse() {
            return is_loopback(address).then(|| vec![address]);
        }
        let name = normalised(host);
        self.listed.get(&name).cloned().or_else(|| is_localhost(&name).then(|| LOCALHOST.to_vec()))
    }

    /// The addresses of `registry` (`host` or `host:port`) if it is a loopback address or a form of
    /// `localhost`, and its port if it isn't the scheme's own. Leaves out other names of the hosts file.
    pub(crate) fn addresses_by_form(&self, registry: &str) -> Option<(Vec<IpAddr>, Option<u16>)> {
        // The URL parser knows the spellings of IPv4 addresses that resolvers accept, e.g. 127.1.
        let url: Url = format!("https://{registry}/").parse().ok()?;
        let host = url.host_str()?;
        let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let addresses = self.addresses(host).filter(|_| is_address || is_localhost(&normalised(host)))?;
        Some((addresses, url.port()))
    }
}

/// Returns whether a name in lower case is `localhost` or below it.
fn is_localhost(name: &str) -> bool {
    matches!(name, "localhost" | "localhost.localdomain") || name.ends_with(".localhost")
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// A name in lower case, without the dot that ends a fully qualified name.
fn normalised(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_registry_is_known_in_every_spelling() {
        let names = LoopbackNames::parse("127.0.0.1 localhost kind-registry\n");
        for registry in [
            "localhost",
            "localhost:5000",
            "LOCALHOST.:5000",
            "registry.localhost:5000",
            "localhost.localdomain:5000",
            "127.0.0.1:5000",
            "127.8.0.1",
            "127.1:5000",
            "2130706433:5000",
            "0x7f.1:5000",
            "[::1]:5000",
            "[::ffff:127.0.0.1]:5000",
        ] {
            assert!(names.addresses_by_form(registry).is_some(), "{registry}");
        }
        for registry in [
            "registry.example",
            "kind-registry:5000",
            "10.0.0.1:5000",
            "0.0.0.0:5000",
            "[::]:5000",
            "localhost.example",
            "notlocalhost",
            "127.0.0.1.example",
            "128.0.0.1",
            "[2001:db8::1]:5000",
            "registry.example:99999",
        ] {
            assert!(names.addresses_by_form(registry).is_none(), "{registry}");
        }
    }

    #[test]
    fn hosts_file_names_loopback_hosts() {
        let names = LoopbackNames::parse(
            "127.0.0.1\tlocalhost kind-registry Registry.Lab. # 127.0.0.1 comment\n\
             127.0.1.1 machine\n::1 machine\n10.0.0.1 mixed\n127.0.0.1 mixed\n10.0.0.2 other\nnonsense name\n",
        );
        let of = |name: &str| {
            names.addresses(name).map(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(of("kind-registry"), Some(vec!["127.0.0.1".to_owned()]));
        assert_eq!(of("registry.LAB"), Some(vec!["127.0.0.1".to_owned()]));
        assert_eq!(of("localhost"), Some(vec!["127.0.0.1".to_owned()]));
        assert_eq!(of("machine"), Some(vec!["127.0.1.1".to_owned(), "::1".to_owned()]));
        for name in ["mixed", "other", "comment", "name", "registry.example"] {
            assert_eq!(of(name), None, "{name}");
        }
    }
}

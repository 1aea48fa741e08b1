//! `NO_PROXY`: hosts that are reached without a proxy.
//!
//! All forms that curl (`CURLOPT_NOPROXY`) and Go (golang.org/x/net/http/httpproxy) accept. Where the two
//! differ, a form that either accepts counts.

use std::net::IpAddr;

/// The entries of `NO_PROXY`.
#[derive(Debug, Default)]
pub(super) struct NoProxy(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    hosts: Hosts,
    /// The only port that the entry is for.
    port: Option<u16>,
}

#[derive(Debug)]
enum Hosts {
    All,
    /// Addresses whose first bits are those of `address`.
    Network {
        address: IpAddr,
        prefix: u32,
    },
    /// Names that end in a dot and `name`, and `name` itself unless only names below it count.
    Domain {
        name: String,
        below_only: bool,
    },
}

impl NoProxy {
    /// Reads the variable's value: entries between commas or spaces. Entries of no known form match nothing.
    pub(super) fn parse(value: &str) -> Self {
        let entries = value.split(|character: char| character == ',' || character.is_whitespace());
        Self(entries.filter_map(Entry::parse).collect())
    }

    /// Whether the host, as a URL spells it, is reached without a proxy.
    pub(super) fn matches(&self, host: &str, port: Option<u16>) -> bool {
        let host = host.trim_matches(['[', ']']);
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let address = name.parse().ok().map(|address: IpAddr| address.to_canonical());
        self.0.iter().any(|entry| {
            let is_port = entry.port.is_none() || entry.port == port;
            is_port && entry.hosts.contains(&name, address)
        })
    }
}

impl Entry {
    fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        if let Some(hosts) = Hosts::parse(&text) {
            return Some(Self { hosts, port: None });
        }
        let (host, port) = text.rsplit_once(':')?;
        Some(Self { hosts: Hosts::parse(host)?, port: Some(port.parse().ok()?) })
    }
}

impl Hosts {
    /// Reads an entry without a port.
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        if let Some((address, prefix)) = text.split_once('/') {
            let address: IpAddr = address.trim_matches(['[', ']']).parse().ok()?;
            let prefix = prefix.parse().ok().filter(|prefix| *prefix <= bits(address).1)?;
            return Some(Self::Network { address, prefix });
        }
        if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            let address = address.to_canonical();
            return Some(Self::Network { address, prefix: bits(address).1 });
        }
        let (name, below_only) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            // Go takes `.suffix` for the names below it, curl also for the suffix itself.
            None => (text.strip_prefix('.').unwrap_or(text), false),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        let is_name = !name.is_empty() && !name.contains([':', '[', ']', '*']);
        is_name.then(|| Self::Domain { name: name.to_owned(), below_only })
    }

    fn contains(&self, host: &str, host_address: Option<IpAddr>) -> bool {
        match self {
            Self::All => true,
            Self::Network { address, prefix } => host_address.is_some_and(|host| {
                let ((network, width), (host, host_width)) = (bits(*address), bits(host));
                let host_part = width - prefix;
                width == host_width
                    && network.checked_shr(host_part).unwrap_or(0) == host.checked_shr(host_part).unwrap_or(0)
            }),
            Self::Domain { name, below_only } => match host.strip_suffix(&**name) {
                Some("") => !below_only,
                Some(below) => below.ends_with('.'),
                None => false,
            },
        }
    }
}

/// An address as a number, and the number's width in bits.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (address.to_bits().into(), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_curl_and_go_are_accepted() {
        for (value, matching, others) in [
            ("*", &["registry.example", "1.1.1.1", "::1"][..], &[][..]),
            ("a.example, *", &["registry.example"], &[]),
            (
                "example.org",
                &["example.org", "EXAMPLE.ORG", "a.b.example.org", "example.org."],
                &["notexample.org", "example.org.uk", "org"],
            ),
            ("Example.ORG.", &["example.org", "a.example.org"], &["example.com"]),
            (".example.org", &["a.example.org", "example.org"], &["notexample.org"]),
            ("*.example.org", &["a.example.org", "a.b.example.org"], &["example.org", "notexample.org"]),
            ("10.0.0.1", &["10.0.0.1", "[::ffff:10.0.0.1]"], &["10.0.0.11", "10.0.0.1.example"]),
            ("10.1.0.0/16", &["10.1.0.0", "10.1.255.255"], &["10.2.0.0", "::a01:1", "registry.example"]),
            ("0.0.0.0/0", &["1.1.1.1"], &["2606:4700::1"]),
            ("::/0", &["2606:4700::1"], &["1.1.1.1"]),
            ("10.0.0.1/32", &["10.0.0.1"], &["10.0.0.2"]),
            ("2001:db8::1", &["[2001:db8::1]", "2001:db8:0::1"], &["2001:db8::2"]),
            ("[2001:db8::1]", &["[2001:db8::1]"], &["2001:db8::2"]),
            ("2001:db8::/32", &["[2001:db8:1::1]"], &["2001:db9::1"]),
            (" a.example ,\tb.example  c.example,", &["a.example", "b.example", "c.example"], &["d.example"]),
            (" , ,,", &[], &["registry.example", "1.1.1.1"]),
            ("", &[], &["registry.example"]),
            (".", &[], &["registry.example"]),
            ("10.0.0.0/33,10.0.0.0/x,/8,a*b.example,:443,[x]", &[], &["10.0.0.1", "a1b.example"]),
        ] {
            let no_proxy = NoProxy::parse(value);
            for host in matching {
                assert!(no_proxy.matches(host, Some(443)), "{value}: {host}");
            }
            for host in others {
                assert!(!no_proxy.matches(host, Some(443)), "{value}: {host}");
            }
        }
    }

    #[test]
    fn entry_with_a_port_is_for_that_port() {
        for (value, host) in [
            ("registry.example:5000", "registry.example"),
            ("registry.example:5000", "a.registry.example"),
            ("10.0.0.1:5000", "10.0.0.1"),
            ("[2001:db8::1]:5000", "[2001:db8::1]"),
        ] {
            let no_proxy = NoProxy::parse(value);
            assert!(no_proxy.matches(host, Some(5000)), "{value}");
            assert!(!no_proxy.matches(host, Some(443)), "{value}");
        }
    }
}

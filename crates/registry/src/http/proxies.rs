//! Proxies that the environment names, and the choice of one for a URL.
//!
//! One decision counts for the connection and for the address policy. Requests to this machine never use a
//! proxy: a registry on loopback has plain http by convention, so a proxy would see its password.

use std::fmt;
use std::sync::Arc;

use reqwest::Url;
use thiserror::Error;

use super::no_proxy::NoProxy;
use crate::loopback::LoopbackNames;

/// Proxies by scheme of the request.
#[derive(Debug, Default)]
pub(super) struct Proxies {
    http: Option<Setting>,
    https: Option<Setting>,
    no_proxy: NoProxy,
    loopback: Arc<LoopbackNames>,
}

type Setting = Result<ProxyServer, UnusableProxy>;

/// A proxy's address, with its login if it needs one.
#[derive(Clone)]
pub(crate) struct ProxyServer(Url);

/// A variable names something that is no HTTP proxy. The message leaves out the value, which may hold a
/// password.
#[derive(Clone, Copy, Debug, Error)]
#[error(
    "{variable} names no usable proxy: write http://HOST:PORT or https://HOST:PORT; SOCKS is not supported"
)]
pub(crate) struct UnusableProxy {
    variable: &'static str,
}

impl Proxies {
    /// Reads variables in the precedence of Go: upper case before lower case, empty ones don't count, and
    /// `ALL_PROXY` is for schemes without a variable of their own.
    pub(super) fn from_variables(
        variable: impl Fn(&str) -> Option<String>,
        loopback: Arc<LoopbackNames>,
    ) -> Self {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        // A CGI server passes a request's "Proxy" header on as HTTP_PROXY (CVE-2016-5385).
        let is_cgi = variable("REQUEST_METHOD").is_some();
        let first = |names: &[&'static str]| {
            let allowed = names.iter().filter(|name| !(is_cgi && **name == "HTTP_PROXY"));
            allowed.into_iter().find_map(|name| Some(ProxyServer::parse(name, variable(name)?.trim())))
        };
        let no_proxy = variable("NO_PROXY").or_else(|| variable("no_proxy")).unwrap_or_default();
        Self {
            http: first(&["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]),
            https: first(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]),
            no_proxy: NoProxy::parse(&no_proxy),
            loopback,
        }
    }

    /// The proxy for a request; `None` if it goes to the host itself.
    pub(super) fn server_for(&self, url: &Url) -> Result<Option<&ProxyServer>, UnusableProxy> {
        let setting = match url.scheme() {
            "http" => &self.http,
            "https" => &self.https,
            _ => &None,
        };
        let (Some(setting), Some(host)) = (setting, url.host_str()) else { return Ok(None) };
        let is_direct = self.loopback.addresses(host).is_some()
            || self.no_proxy.matches(host, url.port_or_known_default());
        if is_direct { Ok(None) } else { setting.as_ref().map(Some).map_err(|error| *error) }
    }

    /// The proxies as reqwest takes them: each for all requests of its scheme.
    pub(super) fn for_reqwest(&self) -> Result<Vec<reqwest::Proxy>, reqwest::Error> {
        let usable = |setting: &'_ Option<Setting>| setting.as_ref().and_then(|found| found.clone().ok());
        let http = usable(&self.http).map(|server| reqwest::Proxy::http(server.0));
        let https = usable(&self.https).map(|server| reqwest::Proxy::https(server.0));
        http.into_iter().chain(https).collect()
    }
}

impl ProxyServer {
    fn parse(variable: &'static str, value: &str) -> Setting {
        // As with curl and Go, an address without a scheme is an HTTP proxy.
        let address = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
        let url = address.parse::<Url>().ok();
        let usable = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        usable.map(Self).ok_or(UnusableProxy { variable })
    }
}

impl fmt::Display for ProxyServer {
    /// The address without the login.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.0.scheme(), self.0.host_str().unwrap_or_default())?;
        self.0.port().map_or(Ok(()), |port| write!(formatter, ":{port}"))
    }
}

impl fmt::Debug for ProxyServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        let loopback = Arc::new(LoopbackNames::parse("127.0.0.1 kind-registry\n"));
        let variable = |name: &str| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
        };
        Proxies::from_variables(variable, loopback)
    }

    /// The proxy for a URL as text: empty for none.
    fn route(proxies: &Proxies, url: &str) -> String {
        let server = proxies.server_for(&url.parse().unwrap());
        server.map_or_else(
            |error| error.to_string(),
            |found| found.map(ToString::to_string).unwrap_or_default(),
        )
    }

    #[test]
    fn loopback_never_uses_a_proxy() {
        let proxies = proxies(&[("ALL_PROXY", "proxy.example:3128")]);
        for host in [
            "localhost:5000",
            "LocalHost.:5000",
            "registry.localhost",
            "localhost.localdomain",
            "127.0.0.1:5000",
            "127.1.2.3",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "[::1]:5000",
            "[::ffff:127.0.0.1]",
            "kind-registry:5000",
        ] {
            for scheme in ["http", "https"] {
                assert_eq!(route(&proxies, &format!("{scheme}://{host}/v2/")), "", "{scheme} {host}");
            }
        }
        for host in
            ["registry.example", "10.0.0.1", "localhost.example", "unresolvable.invalid", "[2001:db8::1]"]
        {
            for scheme in ["http", "https"] {
                let server = route(&proxies, &format!("{scheme}://{host}/v2/"));
                assert_eq!(server, "http://proxy.example:3128", "{scheme} {host}");
            }
        }
    }

    #[test]
    fn variables_are_read_in_the_order_of_go() {
        for (variables, http, https) in [
            (&[][..], "", ""),
            (
                &[("HTTP_PROXY", "http://a:1"), ("https_proxy", "https://b:2")][..],
                "http://a:1",
                "https://b:2",
            ),
            (&[("HTTP_PROXY", "a:1"), ("http_proxy", "b:2")], "http://a:1", ""),
            (&[("HTTP_PROXY", " "), ("http_proxy", "b:2")], "http://b:2", ""),
            (&[("HTTPS_PROXY", "a:1"), ("ALL_PROXY", "b:2")], "http://b:2", "http://a:1"),
            (&[("all_proxy", "b:2")], "http://b:2", "http://b:2"),
            (&[("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "a:1")], "", ""),
            (&[("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "a:1"), ("http_proxy", "b:2")], "http://b:2", ""),
            (&[("REQUEST_METHOD", "GET"), ("HTTPS_PROXY", "a:1")], "", "http://a:1"),
            (&[("ALL_PROXY", "a:1"), ("no_proxy", "registry.example:80")], "", "http://a:1"),
            (&[("ALL_PROXY", "a:1"), ("NO_PROXY", "other"), ("no_proxy", "*")], "http://a:1", "http://a:1"),
        ] {
            let proxies = proxies(variables);
            let routes =
                ["http", "https"].map(|scheme| route(&proxies, &format!("{scheme}://registry.example/")));
            assert_eq!(routes, [http, https], "{variables:?}");
        }
    }

    #[test]
    fn unusable_proxy_is_refused_and_its_password_not_shown() {
        for value in
            ["socks5://user:secret@proxy:1080", "http://", "user:secret@proxy:port", "file:///secret"]
        {
            let proxies = proxies(&[("HTTPS_PROXY", value)]);
            let said = route(&proxies, "https://registry.example/");
            assert!(said.contains("HTTPS_PROXY names no usable proxy") && !said.contains("secret"), "{said}");
            assert_eq!(route(&proxies, "https://localhost/"), "");
            assert!(!format!("{proxies:?}").contains("secret"));
        }
        let proxies = proxies(&[("HTTPS_PROXY", "user:secret@proxy.example:3128")]);
        assert_eq!(route(&proxies, "https://registry.example/"), "http://proxy.example:3128");
        assert!(!format!("{proxies:?}").contains("secret"));
    }
}

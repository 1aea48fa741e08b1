//! Proxy of requests to AWS.
//!
//! AWS's services have HTTPS endpoints. Only a machine's own services have plain ones: instance metadata and
//! container credentials, whose answers are secrets. They never use a proxy, and neither does an endpoint on
//! loopback.

use aws_smithy_http_client::proxy::ProxyConfig;

use crate::error::SetupError;

/// Hosts that are reached without a proxy, in addition to those of `NO_PROXY`.
const LOCAL: &str = "localhost,127.0.0.0/8,::1,169.254.0.0/16";

/// The proxy that the environment names, with the precedence of zstart's registry client.
pub(crate) fn proxy_config(variable: impl Fn(&str) -> Option<String>) -> Result<ProxyConfig, SetupError> {
    let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let names = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let Some((name, value)) = names.iter().find_map(|name| Some((name, variable(name)?))) else {
        return Ok(ProxyConfig::disabled());
    };
    let value = value.trim();
    let url = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    // The SDK takes http and https alone. Its error would show the value, which may hold a password.
    let proxy = (!has_bad_port(&url)).then(|| ProxyConfig::https(url).ok()).flatten().ok_or_else(|| {
        SetupError(format!(
            "{name} names no usable proxy: write http://HOST:PORT or https://HOST:PORT; SOCKS is not supported"
        ))
    })?;
    let no_proxy = variable("NO_PROXY").or_else(|| variable("no_proxy")).unwrap_or_default();
    Ok(proxy.no_proxy(format!("{LOCAL},{}", translated(&no_proxy))))
}

/// Returns whether a proxy's port is no number. The SDK would find that at each request.
fn has_bad_port(url: &str) -> bool {
    let authority = url.split('/').nth(2).unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    // An IPv6 address without a port ends with a bracket.
    let port = host.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    port.is_some_and(|port| !port.is_empty() && port.parse::<u16>().is_err())
}

/// `NO_PROXY` in the forms that the AWS SDK reads: no spaces, no `*.` before a name, and no ports.
fn translated(no_proxy: &str) -> String {
    let entries = no_proxy.split([',', ' ', '\t']).filter(|entry| !entry.is_empty());
    let entry = |entry: &str| {
        let name = entry.strip_prefix("*.").unwrap_or(entry);
        name.strip_suffix(":443").unwrap_or(name).trim_end_matches('.').to_owned()
    };
    entries.map(entry).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_is_translated() {
        assert_eq!(
            translated(" .a.example *.b.example:443,,c.example., 10.0.0.0/8 *"),
            ".a.example,b.example,c.example,10.0.0.0/8,*"
        );
    }

    #[test]
    fn unusable_proxy_is_refused_without_its_password() {
        for value in [
            "http://user:secret@",
            "http://user:secret@ho st:1",
            "socks5://user:secret@proxy:1080",
            "SOCKS5H://user:secret@proxy:1080",
            "file:///secret",
            "user:secret@proxy:port",
            "http://",
        ] {
            let found = proxy_config(|name| (name == "ALL_PROXY").then(|| value.to_owned()));
            let error = found.unwrap_err().to_string();
            assert!(
                error.contains("ALL_PROXY names no usable proxy") && !error.contains("secret"),
                "{error}"
            );
        }
        for value in ["http://[::1]", "https://user:secret@[::1]:3128", "proxy.example", "proxy.example:3128"]
        {
            assert!(proxy_config(|name| (name == "ALL_PROXY").then(|| value.to_owned())).is_ok(), "{value}");
        }
        let unset = proxy_config(|name| (name == "HTTPS_PROXY").then(|| " ".to_owned()));
        assert!(!unset.unwrap().is_from_env());
    }
}

//! Causes of failed connections, in words that say what to do.

use std::error::Error;
use std::io;

use reqwest::Url;
use rustls::{CertificateError, Error as TlsError, InvalidMessage};
use thiserror::Error;

use crate::http::{ProxyServer, UnknownHost, is_authority_as_server};
use crate::loopback::LoopbackNames;

/// Connection that failed for a known cause.
#[derive(Debug, Error)]
#[error("{problem}")]
pub struct ConnectionError {
    problem: Problem,
    /// `HOST` or `HOST:PORT` that the request was for.
    server: String,
    source: reqwest::Error,
}

/// Cause of a failed connection.
#[derive(Debug, Error)]
enum Problem {
    #[error("{server} speaks plain HTTP, not TLS")]
    PlainHttpServer { server: String },
    #[error(
        "{server} ended the connection without an HTTP response, as servers that expect TLS do when they get \
         plain HTTP"
    )]
    NoHttpResponse { server: String },
    #[error("{server} ended the TLS handshake, as servers that expect plain HTTP do")]
    NoHandshake { server: String },
    /// Connections on one machine open at once, so it was the handshake that took too long.
    #[error("{server} ended the TLS handshake or didn't answer it, as servers that expect plain HTTP do")]
    NoLocalHandshake { server: String },
    #[error(
        "the certificate of {server} has an unknown issuer: name the issuer's certificate in SSL_CERT_FILE, or a \
         folder of certificates in SSL_CERT_DIR"
    )]
    UnknownIssuer { server: String },
    #[error(
        "the certificate of {server} is an authority's own and not trusted: name that certificate in \
         SSL_CERT_FILE, or give the server a certificate with basicConstraints=CA:FALSE"
    )]
    AuthorityAsServer { server: String },
    #[error("the certificate of {server} has expired: renew it, or check this machine's clock")]
    Expired { server: String },
    #[error("the certificate of {server} is not valid yet: check this machine's clock")]
    NotValidYet { server: String },
    #[error("the certificate of {server} is for other names: {}", names.join(", "))]
    OtherName { server: String, names: Vec<String> },
    #[error("the certificate of {server} is not acceptable")]
    Certificate { server: String },
    #[error("the name of {server} has no address: check its spelling and this machine's DNS")]
    UnknownHost { server: String },
    #[error("no server listens at {server}")]
    Refused { server: String },
    #[error("{server} accepted no connection in time")]
    Timeout { server: String },
    #[error("proxy {proxy} can't be reached")]
    ProxyUnreachable { proxy: ProxyServer },
    #[error(
        "proxy {proxy} wants a login: write http://USER:PASSWORD@HOST:PORT in HTTPS_PROXY, with special \
         characters percent-encoded"
    )]
    ProxyLogin { proxy: ProxyServer },
    #[error("proxy {proxy} opened no connection to {server}: allow {server} there, or list it in NO_PROXY")]
    ProxyRefused { proxy: ProxyServer, server: String },
}

impl ConnectionError {
    /// Finds a connection error among an error and its causes.
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        find_cause(error)
    }

    /// The server (`HOST` or `HOST:PORT`) if it speaks plain HTTP where TLS was expected, or if it is reached
    /// on this machine and may do so.
    pub fn plain_http_server(&self) -> Option<&str> {
        let speaks_http =
            matches!(self.problem, Problem::PlainHttpServer { .. } | Problem::NoLocalHandshake { .. });
        speaks_http.then_some(&*self.server)
    }

    /// Returns whether a proxy refused the login that the environment names, or the absence of one.
    pub(crate) fn is_proxy_login(&self) -> bool {
        matches!(self.problem, Problem::ProxyLogin { .. })
    }
}

/// The error of a request without a response, with its cause if that is known. `proxy` is the request's
/// proxy.
pub(crate) fn diagnose(error: reqwest::Error, proxy: Option<&ProxyServer>) -> Box<dyn Error + Send + Sync> {
    let url = error.url().cloned();
    // Upload addresses and storage addresses carry signatures.
    let error = error.without_url();
    let Some(url) = url else { return error.into() };
    let server = server_of(&url);
    match problem(&error, &url, server.clone(), proxy) {
        Some(problem) => ConnectionError { problem, server, source: error }.into(),
        None => error.into(),
    }
}

fn problem(
    error: &reqwest::Error,
    url: &Url,
    server: String,
    proxy: Option<&ProxyServer>,
) -> Option<Problem> {
    if let Some(error) = find_cause::<TlsError>(error) {
        return tls_problem(error, server);
    }
    let io = io_kind(error);
    let is_unknown = find_cause::<UnknownHost>(error).is_some();
    let is_ended = matches!(io, Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset));
    let problem = match (error.is_connect(), proxy) {
        (true, Some(proxy)) => {
            let proxy = proxy.clone();
            match () {
                () if is_unknown || io.is_some() || error.is_timeout() => Problem::ProxyUnreachable { proxy },
                () if is_proxy_login(error) => Problem::ProxyLogin { proxy },
                () => Problem::ProxyRefused { proxy, server },
            }
        }
        (true, None) if is_unknown => Problem::UnknownHost { server },
        (true, None) if io == Some(io::ErrorKind::ConnectionRefused) => Problem::Refused { server },
        (true, None) if (is_ended || error.is_timeout()) && url.scheme() == "https" && is_local(url) => {
            Problem::NoLocalHandshake { server }
        }
        (true, None) if error.is_timeout() => Problem::Timeout { server },
        (true, None) if is_ended && url.scheme() == "https" => Problem::NoHandshake { server },
        (false, None) if error.is_request() && !error.is_timeout() && url.scheme() == "http" => {
            Problem::NoHttpResponse { server }
        }
        _ => return None,
    };
    Some(problem)
}

fn tls_problem(error: &TlsError, server: String) -> Option<Problem> {
    match error {
        // The first byte of an HTTP response is no type of a TLS record.
        TlsError::InvalidMessage(InvalidMessage::InvalidContentType) => {
            Some(Problem::PlainHttpServer { server })
        }
        TlsError::InvalidCertificate(error) => Some(match error {
            // A signature fails if a trusted authority has the issuer's name, but another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                Problem::UnknownIssuer { server }
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                Problem::Expired { server }
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Problem::NotValidYet { server }
            }
            CertificateError::NotValidForNameContext { presented, .. } => {
                Problem::OtherName { server, names: presented.iter().map(|name| plain_name(name)).collect() }
            }
            error if is_authority_as_server(error) => Problem::AuthorityAsServer { server },
            _ => Problem::Certificate { server },
        }),
        _ => None,
    }
}

/// The name inside webpki's `DnsName("registry.example")` or `IpAddress(127.0.0.1)`.
fn plain_name(presented: &str) -> String {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(presented).trim_matches('"').to_owned()
}

/// The kind of the I/O error among an error and its causes. Wrapped ones have the kind of the innermost: the
/// end of a TLS handshake is an `UnexpectedEof` inside an `Other`.
fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let io = find_cause::<io::Error>(error)?;
    let inner = io.get_ref().and_then(|wrapped| io_kind(wrapped));
    Some(inner.unwrap_or(io.kind()))
}

/// Returns whether connections to a URL's host end on this machine, e.g. at a tunnel.
fn is_local(url: &Url) -> bool {
    url.host_str().is_some_and(|host| LoopbackNames::of_system().addresses(host).is_some())
}

/// Whether a proxy answered 407 to CONNECT. hyper-util doesn't export that error, only its text.
fn is_proxy_login(error: &reqwest::Error) -> bool {
    std::iter::successors(Some(error as &dyn Error), |&cause| cause.source())
        .any(|cause| cause.to_string() == "tunnel error: proxy authorization required")
}

/// `HOST`, or `HOST:PORT` if the port isn't the scheme's own.
fn server_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The first cause of type `E`.
fn find_cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        // An I/O error's source is the source of the error that it wraps.
        next = match cause.downcast_ref().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => cause.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;
    use crate::http::{AddressPolicy, Direction, HttpClients, Timeouts};

    /// The cause why a server on this machine that reads a handshake and sends nothing can't be used.
    async fn cause_at_mute_server(is_closing: bool) -> (String, Option<String>, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut read = [0; 4096];
            while connection.read(&mut read).await.unwrap_or_default() > 0 && !is_closing {}
        });
        let timeouts = Timeouts { connect: Duration::from_millis(300), ..Timeouts::default() };
        let clients = HttpClients::for_tests(timeouts);
        let url: Url = format!("https://127.0.0.1:{port}/v2/").parse().unwrap();
        let client = clients.client(Direction::Read, AddressPolicy::AllowPrivate, &url).unwrap();
        let error = diagnose(client.get(url.clone()).send().await.unwrap_err(), None);
        let flagged = ConnectionError::find(&*error).and_then(ConnectionError::plain_http_server);
        let found = (format!("{error:?} {error}"), flagged.map(ToOwned::to_owned), port);
        server.abort();
        found
    }

    #[tokio::test]
    async fn mute_server_on_this_machine_may_want_plain_http() {
        for is_closing in [true, false] {
            let (said, flagged, port) = cause_at_mute_server(is_closing).await;
            assert!(said.contains("ended the TLS handshake or didn't answer it"), "{said}");
            assert_eq!(flagged, Some(format!("127.0.0.1:{port}")));
        }
    }
}

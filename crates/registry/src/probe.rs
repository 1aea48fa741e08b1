//! The scheme of a registry on this machine: plain HTTP if the server answers a TLS handshake with something
//! other than TLS, and TLS in all other cases.
//!
//! Docker and go-containerregistry also try both on loopback (go-containerregistry#451). The probe sends the
//! first message of a TLS handshake and nothing that belongs to a user. It decides by the type of the answer
//! alone: the request that follows verifies the certificate, and a certificate that isn't trusted ends that
//! request instead of the use of TLS. A tunnel (`ssh -L`, `kubectl port-forward`) whose far end is broken
//! accepts connections and closes them, so that a missing answer is no sign of plain HTTP. Go, nginx, Apache,
//! Jetty and hyper answer a handshake on a plain port with "400 Bad Request".

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::loopback::LoopbackNames;

/// Longest time to wait for an answer. A server on this machine answers a TLS handshake in milliseconds.
const LIMIT: Duration = Duration::from_secs(5);
/// Port of a registry whose name has none.
const HTTPS_PORT: u16 = 443;
/// Types of the records with which a TLS server answers, each before the major version (RFC 8446, 5.1).
const HANDSHAKE: [u8; 2] = [22, 3];
const ALERT: [u8; 2] = [21, 3];

/// Protocol of an answer to a TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Tls,
    /// Plain HTTP, as far as the caller is concerned.
    Other,
}

/// Returns whether `registry` (`host` or `host:port`) is a loopback address or a form of `localhost`, and its server
/// answers a TLS handshake with something other than TLS. Opens one connection to such a registry, and none to
/// others.
pub async fn is_plain_http_loopback(registry: &str) -> bool {
    probe_registry(&LoopbackNames::of_system(), registry, LIMIT).await == Some(Protocol::Other)
}

/// `None` if the registry may be on another machine, or no server answers within `limit`.
async fn probe_registry(names: &LoopbackNames, registry: &str, limit: Duration) -> Option<Protocol> {
    let (addresses, port) = names.addresses_by_form(registry)?;
    let probe = probe_addresses(&addresses, port.unwrap_or(HTTPS_PORT));
    let protocol = tokio::time::timeout(limit, probe).await.ok().flatten();
    tracing::debug!(registry, ?protocol, "probed a registry on this machine");
    protocol
}

/// `None` if no server answers.
async fn probe_addresses(addresses: &[IpAddr], port: u16) -> Option<Protocol> {
    for address in addresses {
        let Ok(mut stream) = TcpStream::connect((*address, port)).await else { continue };
        stream.write_all(&client_hello(*address)?).await.ok()?;
        let mut front = [0; 2];
        stream.read_exact(&mut front).await.ok()?;
        return Some(if matches!(front, HANDSHAKE | ALERT) { Protocol::Tls } else { Protocol::Other });
    }
    None
}

/// First message of a TLS handshake.
fn client_hello(address: IpAddr) -> Option<Vec<u8>> {
    let provider = CryptoProvider::get_default()?;
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider));
    // The handshake ends before the server's certificate, so no authority is needed.
    let config = builder.with_safe_default_protocol_versions().ok()?;
    let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let mut connection = ClientConnection::new(Arc::new(config), ServerName::from(address)).ok()?;
    let mut message = Vec::new();
    connection.write_tls(&mut message).ok()?;
    Some(message)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::net::TcpListener;

    use super::*;

    /// Limit of probes that are answered.
    const LONG: Duration = Duration::from_mins(1);

    /// A server that reads something, sends `answer` and closes the connection. Without an answer it keeps the
    /// connection. Returns its port and its connections.
    async fn server(answer: Option<&'static [u8]>) -> (u16, Arc<AtomicUsize>) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let mut read = [0; 4096];
                let length = connection.read(&mut read).await.unwrap();
                assert_eq!(read[..length][..2], HANDSHAKE);
                match answer {
                    Some(answer) => connection.write_all(answer).await.unwrap(),
                    None => _ = connection.read(&mut read).await,
                }
            }
        });
        (port, connections)
    }

    #[tokio::test]
    async fn first_record_of_the_answer_decides() {
        for (answer, protocol) in [
            (&b"\x16\x03\x03\x00\x7a"[..], Some(Protocol::Tls)),
            (b"\x15\x03\x01\x00\x02\x02\x28", Some(Protocol::Tls)),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", Some(Protocol::Other)),
            (b"\x16", None),
            (b"", None),
        ] {
            let (port, connections) = server(Some(answer)).await;
            let registry = format!("localhost:{port}");
            let found = probe_registry(&LoopbackNames::default(), &registry, LONG).await;
            assert_eq!(found, protocol, "{answer:?}");
            assert_eq!(connections.load(Ordering::Relaxed), 1);
            assert_eq!(is_plain_http_loopback(&registry).await, protocol == Some(Protocol::Other));
        }
    }

    #[tokio::test]
    async fn silent_server_is_no_plain_http_server() {
        let (port, connections) = server(None).await;
        let limit = Duration::from_millis(200);
        let found = probe_registry(&LoopbackNames::default(), &format!("127.0.0.1:{port}"), limit).await;
        assert_eq!(found, None);
        assert_eq!(connections.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn hosts_file_name_is_not_probed() {
        let (port, connections) = server(Some(b"HTTP/1.1 400 Bad Request\r\n\r\n")).await;
        let names = LoopbackNames::parse("127.0.0.1 registry.corp\n");
        assert!(names.addresses("registry.corp").is_some());
        assert_eq!(probe_registry(&names, &format!("registry.corp:{port}"), LONG).await, None);
        assert_eq!(connections.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn other_machine_is_not_probed() {
        assert!(!is_plain_http_loopback("registry.invalid:5000").await);
        assert!(!is_plain_http_loopback("10.0.0.1:5000").await);
    }
}

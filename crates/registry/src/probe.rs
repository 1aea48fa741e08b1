//! The scheme of a registry on this machine: TLS if the server speaks it, else plain HTTP.
//!
//! Docker and go-containerregistry also try both on loopback (go-containerregistry#451). The probe sends the
//! first message of a TLS handshake and nothing that belongs to a user. It decides by the type of the answer
//! alone: the request that follows verifies the certificate, and a certificate that isn't trusted ends that
//! request instead of the use of TLS.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::loopback::loopback_addresses;

/// Longest time to wait for an answer. A server on this machine answers a TLS handshake in milliseconds.
const LIMIT: Duration = Duration::from_secs(5);
/// Port of a registry whose name has none.
const HTTPS_PORT: u16 = 443;
/// Types of the records with which a TLS server answers, each before the major version (RFC 8446, 5.1).
const HANDSHAKE: [u8; 2] = [22, 3];
const ALERT: [u8; 2] = [21, 3];

/// Whether `registry` (`host` or `host:port`) is on this machine and speaks no TLS. Opens one connection if the
/// registry is on this machine, and none otherwise.
pub async fn is_plain_http_loopback(registry: &str) -> bool {
    let Some((addresses, port)) = loopback_addresses(registry) else { return false };
    let probe = speaks_tls(&addresses, port.unwrap_or(HTTPS_PORT));
    let speaks_tls = tokio::time::timeout(LIMIT, probe).await.ok().flatten().unwrap_or(false);
    tracing::debug!(registry, speaks_tls, "probed a registry on this machine");
    !speaks_tls
}

/// `None` if no server answers.
async fn speaks_tls(addresses: &[IpAddr], port: u16) -> Option<bool> {
    for address in addresses {
        let Ok(mut stream) = TcpStream::connect((*address, port)).await else { continue };
        stream.write_all(&client_hello(*address)?).await.ok()?;
        let mut front = [0; 2];
        stream.read_exact(&mut front).await.ok()?;
        return Some(front == HANDSHAKE || front == ALERT);
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

    /// A server that reads something and sends `answer`. Returns its registry name and its connections.
    async fn server(answer: &'static [u8]) -> (String, Arc<AtomicUsize>) {
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
                connection.write_all(answer).await.unwrap();
            }
        });
        (format!("localhost:{port}"), connections)
    }

    #[tokio::test]
    async fn first_record_of_the_answer_decides() {
        for (answer, is_plain) in [
            (&b"\x16\x03\x03\x00\x7a"[..], false),
            (b"\x15\x03\x01\x00\x02\x02\x28", false),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", true),
            (b"\x16", true),
            (b"", true),
        ] {
            let (registry, connections) = server(answer).await;
            assert_eq!(is_plain_http_loopback(&registry).await, is_plain, "{answer:?}");
            assert_eq!(connections.load(Ordering::Relaxed), 1);
        }
    }

    #[tokio::test]
    async fn other_machine_is_not_probed() {
        assert!(!is_plain_http_loopback("registry.invalid:5000").await);
        assert!(!is_plain_http_loopback("10.0.0.1:5000").await);
    }
}
